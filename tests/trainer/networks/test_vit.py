from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model_store.layers import Execution
from tests.trainer.networks.tiny import VIT, drawn, forward, random_images
from trainer.networks import VisionTransformer, VitConfig, parameter_count
from trainer.networks.vit import VitBlock

IMAGES = random_images(12, batch=2)


def published(name: str) -> VitConfig:
    hidden_dim, heads, patch_size = {"S/16": (384, 6, 16), "B/16": (768, 12, 16)}[name]
    return VitConfig(
        image_size=224,
        patch_size=patch_size,
        hidden_dim=hidden_dim,
        mlp_dim=4 * hidden_dim,
        heads=heads,
        num_layers=12,
        num_classes=1000,
    )


@pytest.mark.parametrize(("name", "with_class_token"), [("S/16", 22_050_664), ("B/16", 86_567_656)])
def test_parameters_are_the_published_ones_without_the_class_token(
    name: str, with_class_token: int
) -> None:
    config = published(name)
    shapes = nnx.eval_shape(lambda: VisionTransformer(config, rngs=nnx.Rngs(0)))
    class_token_and_its_position = 2 * config.hidden_dim
    assert parameter_count(shapes) == with_class_token - class_token_and_its_position


def permute_patches(images: np.ndarray, order_S: np.ndarray) -> np.ndarray:
    patches = images.reshape(-1, 4, 3, 4, 3, 3).swapaxes(2, 3).reshape(-1, 16, 3, 3, 3)
    grid = patches[:, order_S].reshape(-1, 4, 4, 3, 3, 3).swapaxes(2, 3)
    return grid.reshape(images.shape)


def test_positions_alone_tell_the_order_of_the_patches() -> None:
    order_S = np.random.default_rng(0).permutation(16)
    network = drawn(lambda: VisionTransformer(VIT, rngs=nnx.Rngs(0)))
    plain = forward(network, IMAGES)
    patches_moved = forward(network, permute_patches(IMAGES, order_S))
    network.positions_SxC[...] = network.positions_SxC[...][order_S]
    both_moved = forward(network, permute_patches(IMAGES, order_S))
    np.testing.assert_allclose(both_moved, plain, rtol=1e-4, atol=1e-5)
    assert np.abs(patches_moved - plain).max() > 0.01


def block_in_float64(block: VitBlock, x_SxC: np.ndarray) -> np.ndarray:
    """Compute a block head by head, from its formula."""
    parts: dict[tuple[Any, ...], np.ndarray] = {
        path: np.asarray(variable[...], np.float64)
        for path, variable in nnx.to_flat_state(nnx.state(block, nnx.Param))
    }

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return np.asarray(scaled * parts[name, "scale"] + parts[name, "bias"])

    def project(x: np.ndarray, name: str, head: int) -> np.ndarray:
        kernel, bias = (parts["attention", name, part] for part in ("kernel", "bias"))
        return np.asarray(x @ kernel[:, head] + bias[head])

    y = norm(x_SxC, "layer_norm_0")
    mixed = x_SxC + parts["attention", "out", "bias"]
    for head in range(VIT.heads):
        query, key, value = (project(y, name, head) for name in ("query", "key", "value"))
        weights = np.exp(query @ key.T / np.sqrt(query.shape[1]))
        weights /= weights.sum(axis=1, keepdims=True)
        mixed = mixed + weights @ value @ parts["attention", "out", "kernel"][head]
    mlp = [parts["channel_mixing", f"dense_{i}", p] for i in (0, 1) for p in ("kernel", "bias")]
    hidden = norm(mixed, "layer_norm_1") @ mlp[0] + mlp[1]
    hidden = hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3))) / 2
    return np.asarray(mixed + hidden @ mlp[2] + mlp[3])


def test_a_block_agrees_with_its_formula_in_float64() -> None:
    block = drawn(lambda: VitBlock(VIT, Execution(), 0.0, nnx.Rngs(0)))
    x_SxC = np.random.default_rng(1).standard_normal((16, 6))
    found = np.asarray(block(jnp.asarray(x_SxC[None], jnp.float32), None))[0]
    np.testing.assert_allclose(found, block_in_float64(block, x_SxC), rtol=1e-4, atol=1e-5)


def test_a_block_that_is_always_dropped_is_its_skip() -> None:
    block = drawn(lambda: VitBlock(VIT, Execution(), 1.0, nnx.Rngs(0)))
    x_BxSxC = jnp.ones((2, 16, 6))
    assert np.array_equal(block(x_BxSxC, jax.random.key(0)), x_BxSxC)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": 5}, "image_size 12 is no multiple of patch_size 5"),
        ({"heads": 4}, "hidden_dim 6 is no multiple of heads 4"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(VIT, **changes)
