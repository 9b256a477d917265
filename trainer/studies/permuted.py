"""Networks that see their images permuted (spec section 7.3), in training and evaluation alike.

The permutation is the network's first layer, and so comes after all augmentation, mixup included.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from model_store.layers import Execution
from trainer.networks import Network, NetworkBuilder
from trainer.permute import PatchPermutation


class PermutedInput(nnx.Module):
    """A network behind a fixed order of the pixels: place n takes pixel `order_HW[n]`."""

    def __init__(self, network: Network, order_HW: Sequence[int]) -> None:
        self.network = network
        # A tuple is part of the graph: neither trained nor counted as a parameter.
        self.order_HW = tuple(int(place) for place in order_HW)

    @property
    def head(self) -> nnx.Linear | None:
        """The network's last layer."""
        return self.network.head

    def __call__(
        self, images_BxHxWx3: jax.Array, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Return the network's logits and features of the permuted images."""
        b, h, w, colours = images_BxHxWx3.shape
        pixels_BxHWx3 = images_BxHxWx3.reshape(b, h * w, colours)
        permuted = jnp.take(pixels_BxHWx3, np.array(self.order_HW), axis=1, unique_indices=True)
        return self.network(permuted.reshape(images_BxHxWx3.shape), key)


def permuted(build: NetworkBuilder, order_HW: Sequence[int]) -> NetworkBuilder:
    """Return the builder of the same network behind a fixed order of the pixels."""

    def build_permuted(execution: Execution, rngs: nnx.Rngs) -> PermutedInput:
        return PermutedInput(build(execution, rngs), order_HW)

    return build_permuted


def patch_order(*, image_size: int, patch_size: int, seed: int) -> tuple[int, ...]:
    """Draw an order of the patches with one order of the pixels in each, as one of all pixels."""
    rng = np.random.default_rng(seed)
    tokens = (image_size // patch_size) ** 2
    drawn = PatchPermutation(rng.permutation(tokens), rng.permutation(patch_size**2))
    places_HxW = np.arange(image_size**2).reshape(image_size, image_size)
    order_HxW = drawn.images(np.repeat(places_HxW[None, ..., None], 3, axis=-1))[0, ..., 0]
    return tuple(order_HxW.ravel().tolist())


def pixel_order(*, image_size: int, seed: int) -> tuple[int, ...]:
    """Draw an order of all pixels, across the patches."""
    return tuple(np.random.default_rng(seed).permutation(image_size**2).tolist())
