"""The networks that the paper's studies compare with the Mixer; none of them is served.

Each is built as `Network(config, execution, rngs=rngs)`, and maps images float32 [B, H, W, 3], and
a key while training, to float32 logits [B, N] and features [B, C], as the Mixer does.
"""

from trainer.networks.grouped import GroupedMixer
from trainer.networks.network import Network, NetworkBuilder, parameter_count
from trainer.networks.pyramid import PyramidMixer
from trainer.networks.resnet import ResNet, ResNetConfig
from trainer.networks.untied import UntiedMixer
from trainer.networks.vit import VisionTransformer, VitConfig

__all__ = [
    "GroupedMixer",
    "Network",
    "NetworkBuilder",
    "PyramidMixer",
    "ResNet",
    "ResNetConfig",
    "UntiedMixer",
    "VisionTransformer",
    "VitConfig",
    "parameter_count",
]
