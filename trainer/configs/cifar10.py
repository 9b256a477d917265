"""The embedded default model: a small Mixer on CIFAR-10, on two CPU cores, in two runs.

Commands, from the repository's root:

    python -m trainer.train cifar10 --data.path <folder of CIFAR-10>
    python -m trainer.train cifar10-again --data.path <folder of CIFAR-10>

Expected result and cost: the manifests of `model_store/builtin/cifar10-mixer` and README's table.

The first run learns fast and ends overfitted. The second starts from what it published, at half the
rate, with what was missing: RandAugment, more mixup and more stochastic depth. The last steps of
both see larger crops and neither RandAugment nor mixup: crops make objects appear larger than they
are in evaluation, which costs accuracy until the network is used to their true size (arXiv
1906.06423). Larger photos are squashed to the square: in CIFAR-10 the object fills the picture, and
a central crop of a photo would cut it off.
"""

from dataclasses import replace
from pathlib import Path

from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig
from trainer.config import AugmentConfig, DataConfig, OptimiserConfig, StartConfig, TrainConfig

FROM_SCRATCH = TrainConfig(
    model=MixerConfig(
        image_size=32,
        patch_size=4,
        width=128,
        depth=8,
        token_mlp_width=128,
        channel_mlp_width=256,
        num_classes=10,
    ),
    preprocessing=Preprocessing(resize="squash", resize_size=32, crop_size=32, filter="area"),
    data=DataConfig(path=Path("data/cifar10")),
    augment=AugmentConfig(crop_min_area=0.5, mixup=0.1, closing_share=0.125),
    optimiser=OptimiserConfig(
        name="muon",
        learning_rate=0.02,
        adam_learning_rate=0.002,
        weight_decay=0.05,
        warmup_steps=300,
    ),
    epochs=24,
    batch_size=128,
    microbatch_size=64,
    stochastic_depth=0.05,
    run_dir=Path("runs/cifar10"),
    publish_as="cifar10-mixer",
)

AGAIN = replace(
    FROM_SCRATCH,
    start=StartConfig(model="cifar10-mixer@1"),
    augment=AugmentConfig(
        crop_min_area=0.5,
        rand_augment_layers=1,
        rand_augment_magnitude=10,
        mixup=0.2,
        closing_share=0.125,
    ),
    optimiser=replace(FROM_SCRATCH.optimiser, learning_rate=0.01, adam_learning_rate=0.001),
    epochs=16,
    stochastic_depth=0.1,
    run_dir=Path("runs/cifar10-again"),
)
