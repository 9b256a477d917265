import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model_store.layers import Execution
from tests.trainer.networks.tiny import drawn
from trainer.networks import ResNet, ResNetConfig, parameter_count
from trainer.networks.resnet import ResNetBlock, StandardisedConv, group_norm

CONFIG = ResNetConfig(num_classes=7, width=6, blocks_per_stage=2, image_size=13)


def naive_convolution(
    x_HxWxI: np.ndarray, kernel_KxKxIxO: np.ndarray, *, stride: int
) -> np.ndarray:
    """Convolve with filters standardised one by one, place by place."""
    k, side = kernel_KxKxIxO.shape[0], -(-len(x_HxWxI) // stride)
    padding = (k - 1) // 2
    padded = np.pad(x_HxWxI, ((padding, padding), (padding, padding), (0, 0)))
    wanted = np.zeros((side, side, kernel_KxKxIxO.shape[-1]))
    for o in range(kernel_KxKxIxO.shape[-1]):
        weights = kernel_KxKxIxO[..., o].astype(np.float64)
        weights = (weights - weights.mean()) / weights.std()
        for row in range(side):
            for column in range(side):
                y, x = row * stride, column * stride
                wanted[row, column, o] = (padded[y : y + k, x : x + k] * weights).sum()
    return wanted


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 2)])
def test_filters_are_standardised_and_borders_padded_with_zeros(size: int, stride: int) -> None:
    conv = drawn(lambda: StandardisedConv((4, 5), size, Execution(), nnx.Rngs(0), stride=stride))
    conv.kernel[...] = conv.kernel[...] + 2.0
    x_HxWxI = np.random.default_rng(0).standard_normal((7, 7, 4)).astype(np.float32)
    wanted = naive_convolution(x_HxWxI, np.asarray(conv.kernel[...]), stride=stride)
    found = np.asarray(conv(jnp.asarray(x_HxWxI[None])))[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)


def test_stages_halve_the_side_and_double_the_channels() -> None:
    shapes = []

    def stages() -> None:
        network = ResNet(CONFIG, rngs=nnx.Rngs(0))
        x = network.stem(jnp.zeros((2, 13, 13, 3)))
        for block in network.blocks:
            x = block(x, None)
            shapes.append(x.shape[1:])

    nnx.eval_shape(stages)
    stages_wanted = [(13, 13, 6), (7, 7, 12), (4, 4, 24)]
    assert shapes == [shape for shape in stages_wanted for _ in range(2)]


def test_parameters_are_those_of_its_parts() -> None:
    def block(before: int, after: int) -> int:
        norms, projection = 2 * before + 2 * after, before * after if before != after else 0
        return norms + 9 * before * after + 9 * after * after + projection

    blocks = sum(
        block(before, after) for before, after in [(6, 6), (6, 6), (6, 12), (12, 12), (12, 24)]
    ) + block(24, 24)
    wanted = 27 * 6 + blocks + 2 * 24 + 24 * 7 + 7
    assert parameter_count(nnx.eval_shape(lambda: ResNet(CONFIG, rngs=nnx.Rngs(0)))) == wanted


def test_a_block_whose_last_convolution_is_flat_is_its_skip() -> None:
    block = drawn(lambda: ResNetBlock((6, 6), 1, Execution(), 0.0, nnx.Rngs(0)))
    block.conv_1.kernel[...] = jnp.ones_like(block.conv_1.kernel[...])
    x = np.random.default_rng(0).standard_normal((2, 5, 5, 6)).astype(np.float32)
    assert np.array_equal(block(jnp.asarray(x), None), x)


def test_where_the_shape_changes_the_skip_is_projected_after_norm_and_relu() -> None:
    block = drawn(lambda: ResNetBlock((6, 10), 2, Execution(), 0.0, nnx.Rngs(0)))
    block.conv_1.kernel[...] = jnp.ones_like(block.conv_1.kernel[...])
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 5, 5, 6)), jnp.float32)
    assert block.projection is not None
    wanted = block.projection(jnp.maximum(block.norm_0(x), 0))
    np.testing.assert_allclose(block(x, None), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (48, 16), (6, 2), (5, 1)])
def test_groups_of_the_norm_divide_32_and_the_channels(channels: int, groups: int) -> None:
    assert group_norm(channels, Execution(), nnx.Rngs(0)).num_groups == groups


def test_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dropout is 0\.1, not 0"):
        ResNet(CONFIG, Execution(dropout=0.1), rngs=nnx.Rngs(0))
