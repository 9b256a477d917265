"""The networks that studies compare: how each is built, and the numbers that say what it is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal, Self

from pydantic import JsonValue

from model_store.mixer import Mixer
from model_store.variants import MixerConfig
from trainer.networks import (
    GroupedMixer,
    NetworkBuilder,
    PyramidMixer,
    ResNet,
    ResNetConfig,
    UntiedMixer,
    VisionTransformer,
    VitConfig,
)
from trainer.studies.permuted import permuted


@dataclass(frozen=True)
class Candidate:
    """A network to train."""

    settings: Mapping[str, JsonValue]
    """All that fixes the network, for the record and for the key of its results."""
    build: NetworkBuilder

    def behind(self, order_HW: tuple[int, ...]) -> Self:
        """Return the same network behind a fixed order of the pixels."""
        settings: dict[str, JsonValue] = {**self.settings, "pixel_order": list(order_HW)}
        return replace(self, settings=settings, build=permuted(self.build, order_HW))


@dataclass(frozen=True)
class Sizes:
    """Sizes of a study's networks, which cost about the same for each image."""

    patch_size: int = 4
    """Side of a patch in pixels, of the Mixer and of the Vision Transformer (ViT)."""
    width: int = 64
    """Channels of a token in both."""
    depth: int = 4
    """Blocks of both."""
    token_mlp_width: int = 64
    """Hidden width of the Mixer's token MLP."""
    channel_mlp_width: int = 128
    """Hidden width of the MLP over the channels in both."""
    heads: int = 4
    """Attention heads of the ViT."""
    resnet_width: int = 12
    """Channels of the ResNet's first of three stages."""
    resnet_blocks: int = 1
    """Blocks of each stage."""

    def mixer(self, image_size: int, num_classes: int) -> MixerConfig:
        """Return the Mixer's configuration."""
        return MixerConfig(
            image_size=image_size,
            patch_size=self.patch_size,
            width=self.width,
            depth=self.depth,
            token_mlp_width=self.token_mlp_width,
            channel_mlp_width=self.channel_mlp_width,
            num_classes=num_classes,
        )

    def vit(self, image_size: int, num_classes: int) -> VitConfig:
        """Return the Vision Transformer's configuration."""
        return VitConfig(
            image_size=image_size,
            patch_size=self.patch_size,
            hidden_dim=self.width,
            mlp_dim=self.channel_mlp_width,
            heads=self.heads,
            num_layers=self.depth,
            num_classes=num_classes,
        )

    def resnet(self, image_size: int, num_classes: int) -> ResNetConfig:
        """Return the ResNet's configuration."""
        return ResNetConfig(
            num_classes=num_classes,
            width=self.resnet_width,
            blocks_per_stage=self.resnet_blocks,
            image_size=image_size,
        )


def mixer(config: MixerConfig) -> Candidate:
    """Return the Mixer as it is served."""
    return Candidate(
        _settings("mixer", config), lambda execution, rngs: Mixer(config, execution, rngs=rngs)
    )


def vit(config: VitConfig) -> Candidate:
    """Return a Vision Transformer."""
    return Candidate(
        _settings("vit", config),
        lambda execution, rngs: VisionTransformer(config, execution, rngs=rngs),
    )


def resnet(config: ResNetConfig) -> Candidate:
    """Return a ResNet."""
    return Candidate(
        _settings("resnet", config), lambda execution, rngs: ResNet(config, execution, rngs=rngs)
    )


def untied(config: MixerConfig) -> Candidate:
    """Return the Mixer with a token MLP for each channel."""
    return Candidate(
        _settings("untied", config),
        lambda execution, rngs: UntiedMixer(config, execution, rngs=rngs),
    )


def grouped(config: MixerConfig, groups: int, views: Literal["reshape", "learned"]) -> Candidate:
    """Return the Mixer whose token MLP takes groups of channels."""
    return Candidate(
        _settings("grouped", config, groups=groups, views=views),
        lambda execution, rngs: GroupedMixer(
            config, execution, groups=groups, views=views, rngs=rngs
        ),
    )


def pyramid(config: MixerConfig, tokens_after: Mapping[int, int]) -> Candidate:
    """Return the Mixer that goes on with fewer tokens from some blocks on."""
    tokens: dict[str, JsonValue] = {str(block): left for block, left in tokens_after.items()}
    return Candidate(
        _settings("pyramid", config, tokens_after=tokens),
        lambda execution, rngs: PyramidMixer(
            config, execution, tokens_after=tokens_after, rngs=rngs
        ),
    )


def _settings(
    network: str, config: MixerConfig | VitConfig | ResNetConfig, **others: JsonValue
) -> dict[str, JsonValue]:
    values = config.model_dump() if isinstance(config, MixerConfig) else asdict(config)
    return {"network": network, **values, **others}
