"""The Mixer that mixes groups of channels with the tokens (Appendix A.1), in both its versions."""

from typing import Literal

import jax
from flax import nnx

from model_store.layers import Execution, Mlp, gelu
from model_store.mixer import Mixer, MixerBlock
from model_store.variants import MixerConfig

Views = Literal["reshape", "learned"]


class GroupedMlp(nnx.Module):
    """One token MLP over G·S inputs, for each of C/G vectors."""

    def __init__(
        self,
        config: MixerConfig,
        execution: Execution,
        rngs: nnx.Rngs,
        *,
        groups: int,
        views: Views,
    ) -> None:
        width, hidden = groups * config.tokens, groups * config.token_mlp_width
        self.groups = groups
        self.views = (
            nnx.Linear(config.width, config.width, use_bias=False, dtype=execution.dtype, rngs=rngs)
            if views == "learned"
            else None
        )
        self.mlp = Mlp(width, hidden, gelu(config.gelu), execution, rngs)

    def __call__(self, x_BxCxS: jax.Array, key: jax.Array | None) -> jax.Array:
        """Mix the tokens of G channels at a time: [B, C, S] -> [B, C, S]."""
        b, c, s = x_BxCxS.shape
        if self.views is not None:
            x_BxCxS = self.views(x_BxCxS.swapaxes(1, 2)).swapaxes(1, 2)
        # Place k·S + s of vector c' holds token s of channel c'·G + k.
        grouped = x_BxCxS.reshape(b, c // self.groups, self.groups * s)
        return self.mlp(grouped, key).reshape(b, c, s)


class GroupedMixer(Mixer):
    """The Mixer of `config` whose token MLP takes G channels at a time (spec section 7.6).

    `reshape` joins G neighbouring channels. `learned` first maps each token to G views of C/G
    channels, one linear map each; all G maps are one [C, C] kernel, whose output c'·G + k is
    channel c' of view k, so that the identity selects the channels that `reshape` takes.

    The paper is silent on two points. The MLP's hidden width is G times the configured one, with
    which block-diagonal kernels compute the Mixer that does not group. And the result of learned
    views returns by the inverse of their stacking, without maps back.

    Takes images float32 [B, H, W, 3] and gives float32 logits [B, N] and features [B, C].

    Raises:
        ValueError: the groups do not divide the width.
    """

    def __init__(
        self,
        config: MixerConfig,
        execution: Execution = Execution(),
        *,
        groups: int,
        views: Views = "reshape",
        rngs: nnx.Rngs,
    ) -> None:
        if groups < 1 or config.width % groups:
            msg = f"{groups} groups do not divide the width, {config.width} channels"
            raise ValueError(msg)

        def block(i: int) -> MixerBlock:
            mixing = GroupedMlp(config, execution, rngs, groups=groups, views=views)
            rate = execution.drop_rate(i, config.depth)
            return MixerBlock(config, execution, rate, rngs, token_mixing=mixing)

        super().__init__(config, execution, rngs=rngs, block=block)
