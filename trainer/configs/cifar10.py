"""The embedded default model: a small Mixer on CIFAR-10 within about two hours of two CPU cores.

Command, from the repository's root:

    python -m trainer.train cifar10 --data.path <folder of CIFAR-10>

Expected result and cost: the manifest of `model_store/builtin/cifar10-mixer` and README's table.

The paper's regularisation, scaled to the few epochs that a CPU affords, where the model underfits:
weight decay, inception crops of at least half the image, flips, one layer of RandAugment, light
mixup and stochastic depth. The last epochs see larger crops and neither RandAugment nor mixup:
crops make objects appear larger than they are in evaluation, which costs accuracy until the network
is used to their true size (arXiv 1906.06423).
Larger photos are squashed to the square: in CIFAR-10 the object fills the picture, and a central
crop of a photo would cut it off.
"""

from pathlib import Path

from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig
from trainer.config import AugmentConfig, DataConfig, OptimiserConfig, TrainConfig

CONFIG = TrainConfig(
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
    augment=AugmentConfig(
        crop_min_area=0.5,
        rand_augment_layers=1,
        rand_augment_magnitude=10,
        mixup=0.1,
        closing_share=0.1,
    ),
    optimiser=OptimiserConfig(
        name="muon",
        learning_rate=0.02,
        adam_learning_rate=0.002,
        weight_decay=0.05,
        warmup_steps=300,
    ),
    epochs=30,
    batch_size=128,
    microbatch_size=64,
    stochastic_depth=0.05,
    run_dir=Path("runs/cifar10"),
    publish_as="cifar10-mixer",
)
