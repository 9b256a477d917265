"""The Mixer that goes on with fewer tokens from some blocks on (Appendix A.1)."""

from collections.abc import Mapping
from math import isqrt

import jax
from flax import nnx

from model_store.layers import Execution, Mlp, gelu
from model_store.mixer import Mixer, MixerBlock
from model_store.variants import MixerConfig


class ReducingBlock(MixerBlock):
    """A block whose token MLP maps a grid of g·g tokens to g'·g' of them."""

    def __init__(
        self,
        config: MixerConfig,
        execution: Execution,
        drop_rate: float,
        rngs: nnx.Rngs,
        *,
        grids: tuple[int, int],
    ) -> None:
        before, after = (grid**2 for grid in grids)
        mlp = Mlp(before, config.token_mlp_width, gelu(config.gelu), execution, rngs, out=after)
        super().__init__(config, execution, drop_rate, rngs, token_mixing=mlp)
        self.grids = grids

    def skip(self, x_BxSxC: jax.Array) -> jax.Array:
        """Average the tokens of each neighbourhood: [B, S, C] -> [B, S', C]."""
        before, after = self.grids
        b, _, c = x_BxSxC.shape
        factor = before // after
        cells = x_BxSxC.reshape(b, after, factor, after, factor, c)
        return cells.mean(axis=(2, 4)).reshape(b, after**2, c)


class PyramidMixer(Mixer):
    """The Mixer of `config` whose token MLPs of chosen blocks leave fewer tokens (spec 7.6).

    `tokens_after` maps the number of a block, from 0 on, to S', the number of tokens that it
    leaves to all later ones: `{2: 16}` turns the grid of 8·8 into one of 4·4 in the third block.
    Each must be the square of a divisor of the grid's side before it. Hidden widths stay as
    configured.

    The paper does not say how the skip connection passes such a block; here the tokens of each
    square neighbourhood of the grid are averaged.

    Takes images float32 [B, H, W, 3] and gives float32 logits [B, N] and features [B, C].

    Raises:
        ValueError: `tokens_after` names no block, or tokens that do not tile the grid before.
    """

    def __init__(
        self,
        config: MixerConfig,
        execution: Execution = Execution(),
        *,
        tokens_after: Mapping[int, int],
        rngs: nnx.Rngs,
    ) -> None:
        grids = grid_sides(config, tokens_after)

        def block(i: int) -> MixerBlock:
            rate = execution.drop_rate(i, config.depth)
            return ReducingBlock(config, execution, rate, rngs, grids=(grids[i], grids[i + 1]))

        super().__init__(config, execution, rngs=rngs, block=block)


def grid_sides(config: MixerConfig, tokens_after: Mapping[int, int]) -> list[int]:
    """Return the side of the grid before each block, and after the last.

    Raises:
        ValueError: as `PyramidMixer` says.
    """
    if unknown := sorted(tokens_after.keys() - set(range(config.depth))):
        msg = f"tokens_after names block {unknown[0]}, the blocks are 0 to {config.depth - 1}"
        raise ValueError(msg)
    sides = [config.grid]
    for i in range(config.depth):
        tokens = tokens_after.get(i, sides[-1] ** 2)
        side = isqrt(max(tokens, 0))
        if side**2 != tokens or not side or sides[-1] % side:
            msg = (
                f"block {i} cannot leave {tokens} tokens: allowed are the squares of the divisors "
                f"of {sides[-1]}, the side of the grid before it"
            )
            raise ValueError(msg)
        sides.append(side)
    return sides
