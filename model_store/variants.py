"""Mixer architectures as data: Table 1 of the paper, and free configurations."""

from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ForwardCost(NamedTuple):
    """Multiply-accumulates of the matrix products of one image's forward pass.

    Norms, GELUs, biases, residuals and pooling are not counted. The sum is that of the network.
    """

    stem: int
    token_mixing: int
    channel_mixing: int
    head: int

    @property
    def flops(self) -> int:
        """Floating-point operations: a multiplication and an addition each."""
        return 2 * sum(self)


class MixerConfig(BaseModel):
    """What a Mixer is: every number that fixes its parameters and its forward pass.

    Sizes are in pixels (`image_size`, `patch_size`) or channels. Images are square, and their side
    is a multiple of the patch: in other sizes some tokens would have no weights in the token MLP.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int = Field(gt=0)
    patch_size: int = Field(gt=0)
    width: int = Field(gt=0, description="C, channels of a token")
    depth: int = Field(gt=0, description="L, number of Mixer blocks")
    token_mlp_width: int = Field(gt=0, description="D_S, hidden width of the token-mixing MLP")
    channel_mlp_width: int = Field(gt=0, description="D_C, hidden width of the channel-mixing MLP")
    num_classes: int = Field(ge=0, description="0 builds no head: the model only embeds")
    gelu: Literal["tanh", "erf"] = "tanh"
    layer_norm_epsilon: float = Field(default=1e-6, gt=0)

    @model_validator(mode="after")
    def _patches_tile_the_image(self) -> "MixerConfig":
        if self.image_size % self.patch_size:
            msg = f"image_size {self.image_size} is no multiple of patch_size {self.patch_size}"
            raise ValueError(msg)
        return self

    @property
    def grid(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        """S, the number of patches of an image."""
        return self.grid**2

    @property
    def parameter_count(self) -> int:
        """Number of parameters, head included (paper Table 1 counts without the head)."""
        s, c, d_s, d_c, n = self._sizes
        stem = 3 * self.patch_size**2 * c + c
        token_mlp = 2 * s * d_s + d_s + s
        channel_mlp = 2 * c * d_c + d_c + c
        head = c * n + n if n else 0
        return stem + self.depth * (4 * c + token_mlp + channel_mlp) + 2 * c + head

    @property
    def forward_cost(self) -> ForwardCost:
        """Multiply-accumulates of one image's forward pass, part by part (spec section 1.6)."""
        s, c, d_s, d_c, n = self._sizes
        return ForwardCost(
            stem=s * 3 * self.patch_size**2 * c,
            token_mixing=self.depth * 2 * c * s * d_s,
            channel_mixing=self.depth * 2 * s * c * d_c,
            head=c * n,
        )

    @property
    def multiply_accumulates(self) -> int:
        """Multiply-accumulates of one image's forward pass, matrix products alone."""
        return sum(self.forward_cost)

    @property
    def _sizes(self) -> tuple[int, int, int, int, int]:
        return (
            self.tokens,
            self.width,
            self.token_mlp_width,
            self.channel_mlp_width,
            self.num_classes,
        )


class Variant(NamedTuple):
    """One column of Table 1; D_S = C/2 and D_C = 4C in every one of them."""

    depth: int
    patch_size: int
    width: int


VARIANTS = {
    "S/32": Variant(depth=8, patch_size=32, width=512),
    "S/16": Variant(depth=8, patch_size=16, width=512),
    "S/8": Variant(depth=8, patch_size=8, width=512),  # published later, with GSAM weights
    "B/32": Variant(depth=12, patch_size=32, width=768),
    "B/16": Variant(depth=12, patch_size=16, width=768),
    "L/32": Variant(depth=24, patch_size=32, width=1024),
    "L/16": Variant(depth=24, patch_size=16, width=1024),
    "H/14": Variant(depth=32, patch_size=14, width=1280),
}


def variant_config(name: str, *, num_classes: int, image_size: int = 224) -> MixerConfig:
    """Return the architecture that the paper calls `name` (Table 1), for square images.

    Raises:
        ValueError: the name is not in Table 1, or `image_size` is no multiple of the patch.
    """
    if name not in VARIANTS:
        msg = f"unknown Mixer variant {name!r}: known are {', '.join(VARIANTS)}"
        raise ValueError(msg)
    depth, patch_size, width = VARIANTS[name]
    return MixerConfig(
        image_size=image_size,
        patch_size=patch_size,
        width=width,
        depth=depth,
        token_mlp_width=width // 2,
        channel_mlp_width=4 * width,
        num_classes=num_classes,
    )


def variant_name(config: MixerConfig) -> str:
    """Return the name in Table 1 of this architecture at any image size, or `custom`."""
    shape = Variant(depth=config.depth, patch_size=config.patch_size, width=config.width)
    widths = (2 * config.token_mlp_width, config.channel_mlp_width)
    standard_widths = widths == (config.width, 4 * config.width)
    names = [name for name, variant in VARIANTS.items() if variant == shape and standard_widths]
    return names[0] if names else "custom"
