"""Fine-tune a published version on a data set, also at a higher resolution, and publish it.

    python -m trainer.finetune cifar --model cifar10-mixer --enlarge 2 --data.path <folder>

With several learning rates each is tried on a part of train, the best on the held-out rest is
taken, and the run is repeated with it on all of train (spec section 4.3). Every run is resumable,
as those of `trainer.train` are.
"""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console

from model_store.manifest import Manifest
from model_store.preprocess import Preprocessing
from model_store.store import ModelStore
from trainer.command import run_command
from trainer.config import (
    AugmentConfig,
    ComputeConfig,
    DataConfig,
    OptimiserConfig,
    StartConfig,
    TrainConfig,
)
from trainer.data import load_dataset
from trainer.train import StopRequest, train

RESIZE_MARGIN = 8 / 7
"""Side of the resized image over that of the crop: 256 for 224."""


@dataclass(frozen=True)
class FineTuneConfig:
    """Momentum SGD with a cosine schedule, no decay, and a new head of zeros (spec section 4.3)."""

    data: DataConfig
    model: str = "cifar10-mixer"
    """Published version to start from, such as `cifar10-mixer@1` or `b16@production`."""
    store: str = "model_store/builtin"
    """Root of its store, a path or URL."""
    enlarge: int = 1
    """Side of the images as a multiple of the published network's (spec section 5)."""
    resize: Literal["squash", "shorter_side"] = "shorter_side"
    """How an image is resized before the crop: random in training, central in evaluation."""
    resize_size: int | None = None
    """Pixels to which it is resized. None: 8/7 of the crop."""
    flip: bool = True
    """Mirror training images with probability one half."""
    learning_rates: tuple[float, ...] = (0.03,)
    """Peak rates; of several the best on held-out images is taken."""
    grid_holdout_share: float = 0.02
    """Last share of train that several learning rates are compared on."""
    steps: int = 10_000
    warmup_steps: int = 500
    batch_size: int = 512
    microbatch_size: int | None = None
    """Images of one forward and backward pass; gradients accumulate up to the batch. None: all."""
    momentum_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Type in which the momentum is kept; the reference code's is bfloat16."""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    seed: int = 0
    run_dir: Path = Path("runs/finetune")
    """Checkpoints and logs; a command started again with the same folder resumes."""
    checkpoint_every_steps: int = 500
    evaluate_every_epochs: int = 1
    publish_to: str | None = None
    """Store root (path or URL) to publish to at the end."""
    publish_as: str = "fine-tuned"
    """Model name in the store."""


PAPER_RATES = (0.003, 0.01, 0.03, 0.06)


def _task(path: str, *, steps: int, warmup_steps: int, holdout: float) -> FineTuneConfig:
    return FineTuneConfig(
        data=DataConfig(path=Path(path)),
        learning_rates=PAPER_RATES,
        grid_holdout_share=holdout,
        steps=steps,
        warmup_steps=warmup_steps,
    )


# Steps, warm-up and held-out share of the paper's tasks; pre-processing (ii) as in its Table 3.
TASKS = {
    "imagenet": (
        "ImageNet: 20,000 steps, the paper's grid of rates",
        _task("data/imagenet", steps=20_000, warmup_steps=500, holdout=0.01),
    ),
    "cifar": (
        "CIFAR-10 or CIFAR-100: 10,000 steps, the paper's grid of rates",
        _task("data/cifar100", steps=10_000, warmup_steps=500, holdout=0.02),
    ),
    "small": (
        "Pets, Flowers and the like: 500 steps, the paper's grid of rates",
        _task("data/flowers", steps=500, warmup_steps=100, holdout=0.1),
    ),
    "vtab": (
        "a VTAB-1k task: 2,500 steps, the paper's grid of three rates",
        replace(
            _task("data/vtab", steps=2_500, warmup_steps=500, holdout=0.2),
            learning_rates=PAPER_RATES[:3],
        ),
    ),
}


def fine_tune(config: FineTuneConfig, stop: StopRequest, console: Console) -> None:
    """Choose the learning rate if there is a choice, then train, evaluate and publish."""
    store = ModelStore(config.store)
    version = store.resolve(config.model)
    manifest = store.manifest(version)
    classes = load_dataset(config.data.path, "train").classes
    run = run_config(replace(config, model=str(version)), manifest, num_classes=len(classes))
    if len(config.learning_rates) > 1:
        best = _best_rate(config, run, stop, console)
        if best is None:
            return
        run = with_rate(run, best)
    train(run, stop, console)


def run_config(config: FineTuneConfig, manifest: Manifest, *, num_classes: int) -> TrainConfig:
    """Return the training run that fine-tunes the version of this manifest on so many classes."""
    published = manifest.architecture
    size = config.enlarge * published.image_size
    resize_size = config.resize_size or round(RESIZE_MARGIN * size)
    return TrainConfig(
        model=published.model_copy(
            update={
                "image_size": size,
                "token_mlp_width": config.enlarge**2 * published.token_mlp_width,
                "num_classes": num_classes,
            }
        ),
        preprocessing=Preprocessing.model_validate(
            manifest.preprocessing.model_dump()
            | {"resize": config.resize, "resize_size": resize_size, "crop_size": size}
        ),
        data=config.data,
        start=StartConfig(config.model, config.store),
        augment=AugmentConfig(crop="random", flip=config.flip),
        optimiser=OptimiserConfig(
            name="sgd",
            learning_rate=config.learning_rates[0],
            weight_decay=0.0,
            momentum_dtype=config.momentum_dtype,
            warmup_steps=config.warmup_steps,
            decay="cosine",
        ),
        steps=config.steps,
        batch_size=config.batch_size,
        microbatch_size=config.microbatch_size,
        compute=config.compute,
        seed=config.seed,
        run_dir=config.run_dir,
        checkpoint_every_steps=config.checkpoint_every_steps,
        evaluate_every_epochs=config.evaluate_every_epochs,
        publish_to=config.publish_to,
        publish_as=config.publish_as,
    )


def with_rate(run: TrainConfig, rate: float) -> TrainConfig:
    """Return the run with this peak learning rate."""
    return replace(run, optimiser=replace(run.optimiser, learning_rate=rate))


def _best_rate(
    config: FineTuneConfig, run: TrainConfig, stop: StopRequest, console: Console
) -> float | None:
    """Return the rate with the best accuracy on held-out images, or None if asked to stop."""
    accuracies: dict[float, float] = {}
    for rate in config.learning_rates:
        trial = replace(
            with_rate(run, rate),
            data=replace(run.data, holdout_share=config.grid_holdout_share),
            evaluate_on="validation",
            run_dir=config.run_dir / f"rate-{rate:g}",
            publish_to=None,
        )
        result = train(trial, stop, console)
        if result is None:
            return None
        accuracies[rate] = result.accuracy
        console.print(f"learning rate {rate:g}: {result.accuracy:.4f} on held-out images")
    return max(accuracies, key=accuracies.__getitem__)


def main() -> int:
    """Run the command line; return its exit code."""
    config = tyro.extras.overridable_config_cli(TASKS)
    return run_command(lambda console: fine_tune(config, StopRequest(), console))


if __name__ == "__main__":
    sys.exit(main())
