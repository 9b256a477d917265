import io
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from model_store.assembly import golden_outputs
from model_store.golden import deviation
from model_store.manifest import PARAMETERS_FILE, Manifest
from model_store.mixer import load_mixer
from model_store.parameters import read_parameters
from model_store.store import ModelStore
from tests.trainer.conftest import Finished
from tests.trainer.tiny import CLASSES, RECIPE_STEPS, tiny_config
from trainer.data import load_dataset
from trainer.evaluation import Evaluation
from trainer.publish import publish_run
from trainer.run import TrainingRun


@pytest.fixture
def manifest(finished: Finished) -> Manifest:
    """The manifest of the tiny recipe's version, every file of it verified."""
    store = ModelStore(str(finished.store))
    return store.verify(store.resolve("tiny@1"))


def head_commit() -> str | None:
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def test_manifest_says_where_the_version_comes_from(finished: Finished, manifest: Manifest) -> None:
    provenance = manifest.provenance
    assert provenance.source == "trainer"
    command = shlex.split(provenance.command)
    assert command == ["python", "-m", "trainer.train", *finished.arguments]
    assert provenance.packages["jax"] == jax.__version__
    assert provenance.packages.keys() >= {"jaxlib", "flax", "optax", "grain", "numpy", "pillow"}
    assert provenance.created_at <= datetime.now(UTC)
    if commit := head_commit():
        assert provenance.code_revision in (commit, f"{commit}-dirty")
    else:
        assert provenance.code_revision is None


def test_manifest_says_how_the_version_was_trained(data_folder: Path, manifest: Manifest) -> None:
    training = manifest.training
    assert training is not None
    assert (training.seed, training.epochs, training.steps) == (7, 12.0, RECIPE_STEPS)
    assert training.wall_time_s > 0
    assert training.machine
    assert training.dataset == data_folder.name
    assert training.dataset_sha256 == load_dataset(data_folder, "train").digest()
    assert training.metrics.keys() == {
        "test_images",
        "test_accuracy",
        "test_top5_accuracy",
        "test_loss",
        "test_calibration_error",
    }
    assert training.metrics["test_images"] == 12
    assert training.config["model"] == manifest.architecture.model_dump(mode="json")
    assert training.config["preprocessing"] == manifest.preprocessing.model_dump(mode="json")
    assert training.config["microbatch_size"] == 4
    augment = training.config["augment"]
    assert isinstance(augment, dict)
    assert (augment["mixup"], augment["closing_share"]) == (0.1, 0.25)


def test_labels_are_the_classes_of_the_data(manifest: Manifest) -> None:
    assert manifest.labels == CLASSES


def test_golden_outputs_reproduce(finished: Finished, manifest: Manifest) -> None:
    folder = finished.version
    mixer = load_mixer(manifest.architecture, read_parameters(folder / PARAMETERS_FILE))
    images = [Image.open(io.BytesIO((folder / g.file).read_bytes())) for g in manifest.golden]
    logits, embedding = golden_outputs(
        mixer, manifest.preprocessing, [image.convert("RGB") for image in images]
    )
    assert len(images) > 0
    assert np.ptp(logits) > 0.01  # not the zeros of an untrained head
    for i, golden in enumerate(manifest.golden):
        assert deviation(np.array(golden.logits), logits[i]) < 1e-6
        assert deviation(np.array(golden.embedding), embedding[i]) < 1e-6


def test_run_without_a_store_is_not_published(tmp_path: Path, data_folder: Path) -> None:
    result = Evaluation(images=1, accuracy=1.0, top5_accuracy=1.0, loss=0.0, calibration_error=0.0)
    with (
        TrainingRun(tiny_config(tmp_path, data_folder)) as run,
        pytest.raises(ValueError, match="publish_to names no store"),
    ):
        publish_run(run, run.parameters(), result, command="a command")
