import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from model_store.manifest import Manifest
from model_store.store import ModelStore
from tests.models import TINY, random_checkpoint
from tests.trainer.tiny import CLASSES, command_line
from trainer import finetune
from trainer.config import DataConfig
from trainer.finetune import TASKS, FineTuneConfig, run_config


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("published") / "store")
    ModelStore(root).publish("tiny", random_checkpoint(TINY), alias="production")
    return root


@pytest.fixture(scope="module")
def manifest(store: str) -> Manifest:
    published = ModelStore(store)
    return published.manifest(published.resolve("tiny@1"))


def fine_tune(store: str, data: Path, root: Path, *more: str) -> int:
    """Run the command for six steps on images twice as large."""
    arguments: Sequence[str] = (
        *("small", "--model", "tiny", "--store", store, "--data.path", str(data)),
        *("--enlarge", "2", "--steps", "6", "--warmup-steps", "2", "--batch-size", "8"),
        *("--run-dir", str(root / "run"), "--publish-to", str(root / "out")),
        *more,
    )
    with command_line(*arguments):
        sys.argv[0] = "trainer/finetune.py"
        return finetune.main()


# The paper's tasks


@pytest.mark.parametrize(
    ("task", "steps", "warmup", "rates"),
    [
        ("imagenet", 20_000, 500, (0.003, 0.01, 0.03, 0.06)),
        ("cifar", 10_000, 500, (0.003, 0.01, 0.03, 0.06)),
        ("small", 500, 100, (0.003, 0.01, 0.03, 0.06)),
        ("vtab", 2_500, 500, (0.003, 0.01, 0.03)),
    ],
)
def test_tasks_are_the_papers(task: str, steps: int, warmup: int, rates: tuple[float, ...]) -> None:
    _, config = TASKS[task]
    assert (config.steps, config.warmup_steps, config.learning_rates) == (steps, warmup, rates)
    assert config.batch_size == 512


def test_run_is_momentum_sgd_with_a_cosine_and_no_decay(manifest: Manifest) -> None:
    config = FineTuneConfig(data=DataConfig(Path("pictures")), model="tiny@1", enlarge=3)
    run = run_config(config, manifest, num_classes=5)
    optimiser = run.optimiser
    assert (optimiser.name, optimiser.decay, optimiser.momentum) == ("sgd", "cosine", 0.9)
    assert (optimiser.weight_decay, optimiser.clip_norm) == (0, 1)
    assert (run.loss, run.augment.mixup, run.dropout, run.stochastic_depth) == ("softmax", 0, 0, 0)
    assert run.augment.crop == "random"
    assert (run.model.image_size, run.model.token_mlp_width) == (36, 63)
    assert run.model.num_classes == 5
    assert run.start.model == "tiny@1"
    pipeline = run.preprocessing
    assert (pipeline.resize, pipeline.resize_size, pipeline.crop_size) == ("shorter_side", 41, 36)
    squashed = run_config(
        replace(config, resize="squash", resize_size=36), manifest, num_classes=5
    ).preprocessing
    assert (squashed.resize, squashed.resize_size, squashed.crop_size) == ("squash", 36, 36)


# The command


def test_version_is_published_at_twice_the_size_with_the_classes_of_the_data(
    store: str, data_folder: Path, tmp_path: Path
) -> None:
    assert fine_tune(store, data_folder, tmp_path, "--learning-rates", "0.03") == 0
    published = ModelStore(str(tmp_path / "out"))
    manifest = published.verify(published.resolve("fine-tuned"))
    assert manifest.labels == CLASSES
    assert manifest.architecture.image_size == 2 * TINY.image_size
    assert manifest.training is not None
    assert manifest.training.steps == 6
    # The reference is resolved, so that it is known for ever what was started from.
    assert manifest.training.config["start"] == "tiny@1"


def test_best_of_several_rates_on_held_out_images_trains_on_all_of_train(
    store: str, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = ("--learning-rates", "1e-9", "0.1", "--grid-holdout-share", "0.3", "--steps", "12")
    assert fine_tune(store, data_folder, tmp_path, *rates) == 0
    output = capsys.readouterr().out
    assert "learning rate 1e-09: " in output
    assert "learning rate 0.1: " in output
    published = ModelStore(str(tmp_path / "out"))
    (version,) = published.list()
    training = published.manifest(version).training
    assert training is not None
    settings = training.config["optimiser"]
    assert isinstance(settings, dict)
    assert settings["learning_rate"] == 0.1
    assert training.metrics["test_images"] == 12
    assert training.config["holdout_share"] == 0


def test_unknown_version_is_one_clear_line(
    store: str, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fine_tune(store, data_folder, tmp_path, "--model", "nobody") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "nobody" in line
