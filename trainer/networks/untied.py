"""The Mixer without tied token mixing: each channel has a token MLP of its own (Appendix A.1)."""

import jax
from flax import nnx

from model_store.layers import Execution, Mlp, gelu
from model_store.mixer import Mixer, MixerBlock
from model_store.variants import MixerConfig


class UntiedMlp(nnx.Module):
    """C token MLPs, held as one whose parameters have C as their first axis."""

    def __init__(self, config: MixerConfig, execution: Execution, rngs: nnx.Rngs) -> None:
        @nnx.split_rngs(splits=config.width)
        @nnx.vmap
        def build(rngs: nnx.Rngs) -> Mlp:
            activation = gelu(config.gelu)
            return Mlp(config.tokens, config.token_mlp_width, activation, execution, rngs)

        self.mlps: Mlp = build(rngs)

    def __call__(self, x_BxCxS: jax.Array, key: jax.Array | None) -> jax.Array:
        """Give each channel to its MLP: [B, C, S] -> [B, C, S]."""
        keys_C = None if key is None else jax.random.split(key, x_BxCxS.shape[1])

        @nnx.vmap(in_axes=(0, 1, None if key is None else 0), out_axes=1)
        def mix(mlp: Mlp, x_BxS: jax.Array, key: jax.Array | None) -> jax.Array:
            return mlp(x_BxS, key)

        mixed_BxCxS: jax.Array = mix(self.mlps, x_BxCxS, keys_C)
        return mixed_BxCxS


class UntiedMixer(Mixer):
    """The Mixer of `config` with C separate token MLPs in each block (spec section 7.6).

    Takes images float32 [B, H, W, 3] and gives float32 logits [B, N] and features [B, C].
    """

    def __init__(
        self, config: MixerConfig, execution: Execution = Execution(), *, rngs: nnx.Rngs
    ) -> None:
        def block(i: int) -> MixerBlock:
            mixing = UntiedMlp(config, execution, rngs)
            rate = execution.drop_rate(i, config.depth)
            return MixerBlock(config, execution, rate, rngs, token_mixing=mixing)

        super().__init__(config, execution, rngs=rngs, block=block)
