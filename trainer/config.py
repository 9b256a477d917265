"""Every setting of a training run, typed; the recipes in `configs/` are values of `TrainConfig`."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

from pydantic import JsonValue, TypeAdapter

from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig


@dataclass(frozen=True)
class DataConfig:
    """Where the pictures come from; `trainer.data` says which layouts are read."""

    path: Path
    """Folder of the data set."""
    loader_threads: int = 2
    """Threads that decode and augment ahead of the step, each a batch; with worker processes, in
    each of them."""
    worker_processes: int = 0
    """Processes that decode and augment, where Python's lock holds the threads back; 0: none."""
    holdout_share: float = 0.0
    """Last share of train, in a fixed random order, that becomes the `validation` split."""
    max_bad_share: float = 0.0
    """Share of a split's images that may be bad (unreadable, mislabelled, an empty class) before
    the run stops."""


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training images (paper section 3); evaluation never sees them."""

    crop_min_area: float = 0.05
    """Inception crop: smallest share of the image's area (1 takes the whole image)."""
    flip: bool = True
    """Mirror left to right with probability one half."""
    rand_augment_layers: int = 0
    """Operations of RandAugment on each image; 0 is off."""
    rand_augment_magnitude: float = 15.0
    """Strength of RandAugment's operations; 10 is the nominal maximum."""
    mixup: float = 0.0
    """p of mixup's Beta(p, p); 0 is off."""
    closing_epochs: int = 0
    """Last epochs, in which training images come closer to evaluation's: larger crops, no
    RandAugment, no mixup."""
    closing_crop_min_area: float = 0.8
    """`crop_min_area` of the closing epochs."""

    def closing(self) -> Self:
        """Return the changes to images that the closing epochs make."""
        return replace(self, crop_min_area=self.closing_crop_min_area, rand_augment_layers=0)


@dataclass(frozen=True)
class OptimiserConfig:
    """The update rule: linear warm-up, then linear decay to zero."""

    name: Literal["adam", "muon"] = "adam"
    """`adam` is the paper's; `muon` orthogonalises the updates of the MLPs' kernels."""
    learning_rate: float = 1e-3
    """Peak rate of Adam, or of Muon on the kernels that it owns."""
    adam_learning_rate: float = 1e-3
    """With Muon: peak rate of Adam on everything else (stem, head, norms, biases)."""
    weight_decay: float = 0.1
    """Decoupled, times the learning rate, on kernels alone."""
    clip_norm: float = 1.0
    """Largest global norm of a gradient."""
    warmup_steps: int = 10_000


@dataclass(frozen=True)
class TrainConfig:
    """One training run from scratch."""

    model: MixerConfig
    preprocessing: Preprocessing
    data: DataConfig
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    epochs: int = 300
    batch_size: int = 4096
    microbatch_size: int | None = None
    """Images of one forward and backward pass; gradients accumulate up to the batch. None: all."""
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    """Drop rate of the last block's branches, rising linearly from 0 in the first."""
    seed: int = 0
    run_dir: Path = Path("runs/mixer")
    """Checkpoints and logs; a run started again in the same folder resumes."""
    checkpoint_every_steps: int = 1000
    evaluate_every_epochs: int = 1
    publish_to: str | None = None
    """Store root (path or URL) to publish to at the end."""
    publish_as: str = "mixer"
    """Model name in the store."""

    def closing_step(self, steps_per_epoch: int) -> int:
        """Return the first step of the closing epochs."""
        return (self.epochs - self.augment.closing_epochs) * steps_per_epoch


def all_settings(config: TrainConfig) -> dict[str, JsonValue]:
    """Return the run's configuration as JSON values, without folders of this machine."""
    settings: dict[str, JsonValue] = TypeAdapter(TrainConfig).dump_python(config, mode="json")
    others = ("data", "run_dir", "publish_to")
    kept = {name: value for name, value in settings.items() if name not in others}
    return {**kept, "holdout_share": config.data.holdout_share}


def arithmetic_settings(config: TrainConfig) -> dict[str, JsonValue]:
    """Return those of the settings that decide the parameters in the end.

    Of the preprocessing that is the input range: training images are resized by their crop.
    """
    others = ("preprocessing", "publish_as", "checkpoint_every_steps", "evaluate_every_epochs")
    settings = {name: value for name, value in all_settings(config).items() if name not in others}
    return {**settings, "input_range": list(config.preprocessing.input_range)}
