"""Every setting of a training run, typed; the recipes in `configs/` are values of `TrainConfig`."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

from pydantic import JsonValue, TypeAdapter

from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig
from trainer.losses import LossName


@dataclass(frozen=True)
class DataConfig:
    """Where the pictures come from; `trainer.data` says which layouts are read."""

    path: Path
    """Folder of the data set."""
    loader_threads: int = 2
    """Threads that decode and augment ahead of the step."""


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training images (paper section 3); evaluation never sees them."""

    crop: Literal["inception", "random"] = "inception"
    """`inception` crops a random box (pre-training); `random` resizes as evaluation does, then
    crops at a random place (fine-tuning)."""
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
    closing_share: float = 0.0
    """Last share of the steps, in which training images come closer to evaluation's: larger crops,
    no RandAugment, no mixup."""
    closing_crop_min_area: float = 0.8
    """`crop_min_area` of the closing steps."""

    def closing(self) -> Self:
        """Return the changes to images that the closing steps make."""
        return replace(self, crop_min_area=self.closing_crop_min_area, rand_augment_layers=0)


@dataclass(frozen=True)
class OptimiserConfig:
    """The update rule and its schedule: linear warm-up, then decay (spec section 4)."""

    name: Literal["adam", "muon", "sgd"] = "adam"
    """`adam` is the paper's for pre-training and `sgd`, with momentum, for fine-tuning; `muon`
    orthogonalises the updates of the MLPs' kernels."""
    learning_rate: float = 1e-3
    """Peak rate of Adam or SGD, or of Muon on the kernels that it owns."""
    adam_learning_rate: float = 1e-3
    """With Muon: peak rate of Adam on everything else (stem, head, norms, biases)."""
    weight_decay: float = 0.1
    """Decoupled, times the learning rate, on kernels alone. SGD takes none."""
    momentum: float = 0.9
    """SGD: share of the last update that the next one keeps; not Nesterov's."""
    momentum_dtype: Literal["float32", "bfloat16"] = "float32"
    """SGD: type in which the momentum is kept."""
    clip_norm: float = 1.0
    """Largest global norm of a gradient."""
    warmup_steps: int = 10_000
    decay: Literal["linear", "cosine"] = "linear"
    """How the rate falls after the warm-up."""
    final_share: float = 0.0
    """Rate at the last step, as a share of the peak rate."""


@dataclass(frozen=True)
class StartConfig:
    """The parameters before the first step."""

    model: str | None = None
    """Published version, such as `cifar10-mixer@1`, whose network is enlarged to this run's image
    size and given a new head. None: fresh ones."""
    store: str = "model_store/builtin"
    """Root of its store, a path or URL."""


@dataclass(frozen=True)
class ComputeConfig:
    """How the step's arithmetic is laid out; the mathematics stays the same."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the forward and backward pass; master weights and optimiser stay float32."""
    rematerialise: bool = False
    """Compute each block anew in the backward pass: less memory, a third more arithmetic."""
    sharding: Literal["replicated", "fully_sharded"] = "replicated"
    """Over several devices: each holds all parameters, or a slice of each (for H/14)."""


@dataclass(frozen=True)
class HostsConfig:
    """Processes, each with devices of its own, that train together; they share the run's folder."""

    coordinator: str | None = None
    """Address (host:port) at which process 0 listens; None where the cluster says it (TPU)."""
    processes: int = 1
    """How many processes train together."""
    process: int = 0
    """Number of this process, from 0 on."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    model: MixerConfig
    preprocessing: Preprocessing
    data: DataConfig
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    epochs: int = 300
    """Passes over the training images; a batch may reach into the next one."""
    start: StartConfig = field(default_factory=StartConfig)
    steps: int | None = None
    """Steps of the run, in place of `epochs`."""
    batch_size: int = 4096
    """Images of one step, over all devices and hosts."""
    microbatch_size: int | None = None
    """Images of one forward and backward pass; gradients accumulate up to the batch. None: all."""
    loss: LossName = "softmax"
    """`softmax` or `sigmoid` cross-entropy."""
    head_bias: float = 0.0
    """Initial bias of the head: about log(1/classes) for the sigmoid loss."""
    dropout: float = 0.0
    """Drop rate after each dense layer of the MLPs."""
    stochastic_depth: float = 0.0
    """Largest drop rate of a block's branches."""
    stochastic_depth_rule: Literal["ramp", "constant"] = "ramp"
    """`ramp` rises linearly from 0 in the first block; `constant` also rescales (timm's rule)."""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    hosts: HostsConfig = field(default_factory=HostsConfig)
    evaluate_on: Literal["test", "validation"] = "test"
    """Split that is evaluated; `validation` is what `data.holdout_share` keeps from train."""
    seed: int = 0
    run_dir: Path = Path("runs/mixer")
    """Checkpoints and logs; a run started again in the same folder resumes."""
    checkpoint_every_steps: int = 1000
    evaluate_every_epochs: int = 1
    publish_to: str | None = None
    """Store root (path or URL) to publish to at the end."""
    publish_as: str = "mixer"
    """Model name in the store."""

    def total_steps(self, images: int) -> int:
        """Return the steps of a run on so many training images."""
        return self.epochs * images // self.batch_size if self.steps is None else self.steps

    def closing_step(self, total_steps: int) -> int:
        """Return the first of the closing steps."""
        return total_steps - round(self.augment.closing_share * total_steps)


def all_settings(config: TrainConfig) -> dict[str, JsonValue]:
    """Return the run's configuration as JSON values, without folders of this machine."""
    settings: dict[str, JsonValue] = TypeAdapter(TrainConfig).dump_python(config, mode="json")
    return {
        name: value
        for name, value in settings.items()
        if name not in ("data", "run_dir", "publish_to")
    }


def arithmetic_settings(config: TrainConfig) -> dict[str, JsonValue]:
    """Return those of the settings that decide the parameters in the end.

    Of the preprocessing that is the input range: training images are resized by their crop.
    """
    others = ("preprocessing", "publish_as", "checkpoint_every_steps", "evaluate_every_epochs")
    settings = {name: value for name, value in all_settings(config).items() if name not in others}
    return {**settings, "input_range": list(config.preprocessing.input_range)}
