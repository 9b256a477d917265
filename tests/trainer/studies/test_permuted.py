from functools import partial

import jax
import numpy as np
from flax import nnx

from model_store.layers import Execution
from model_store.variants import MixerConfig
from tests.trainer.networks.tiny import drawn, forward
from trainer.networks import Network, parameter_count
from trainer.permute import PatchPermutation, permute_all_pixels
from trainer.studies.candidates import Candidate, mixer
from trainer.studies.permuted import patch_order, pixel_order

CONFIG = MixerConfig(
    image_size=12,
    patch_size=4,
    width=5,
    depth=2,
    token_mlp_width=7,
    channel_mlp_width=11,
    num_classes=6,
)
IMAGES = np.random.default_rng(0).normal(size=(3, 12, 12, 3)).astype(np.float32)
PATCHES = patch_order(image_size=12, patch_size=4, seed=1)
PIXELS = pixel_order(image_size=12, seed=1)


def test_training_and_evaluation_see_all_images_permuted_alike() -> None:
    candidate, execution = mixer(CONFIG), Execution(dropout=0.5)
    network = drawn(lambda: candidate.build(execution, nnx.Rngs(0)))
    behind = drawn(lambda: candidate.behind(PIXELS).build(execution, nnx.Rngs(0)))
    permuted = permute_all_pixels(IMAGES, np.array(PIXELS))
    for key in (None, jax.random.key(3)):
        found, wanted = forward(behind, IMAGES, key), forward(network, permuted, key)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        differences_B = np.abs(found - forward(network, IMAGES, key)).max(axis=1)
        assert (differences_B > 1e-3).all()


def test_order_of_patches_is_that_of_the_permutation() -> None:
    rng = np.random.default_rng(1)
    drawn = PatchPermutation(rng.permutation(9), rng.permutation(16))
    found = permute_all_pixels(IMAGES, np.array(PATCHES))
    np.testing.assert_array_equal(found, drawn.images(IMAGES))


def test_order_of_patches_keeps_patches_together_and_that_of_pixels_does_not() -> None:
    def patches_of(order: tuple[int, ...]) -> np.ndarray:
        y, x = np.divmod(np.array(order).reshape(12, 12), 12)
        numbers_HxW = y // 4 * 3 + x // 4
        patches_9x16: np.ndarray = numbers_HxW.reshape(3, 4, 3, 4).swapaxes(1, 2).reshape(9, 16)
        return patches_9x16

    assert all(len(set(patch)) == 1 for patch in patches_of(PATCHES).tolist())
    assert all(len(set(patch)) > 1 for patch in patches_of(PIXELS).tolist())
    assert sorted(PATCHES) == sorted(PIXELS) == list(range(144))


def test_order_is_no_parameter_and_part_of_the_record() -> None:
    plain, behind = mixer(CONFIG), mixer(CONFIG).behind(PATCHES)

    def build(candidate: Candidate) -> Network:
        return candidate.build(Execution(), nnx.Rngs(0))

    counts = [
        parameter_count(nnx.eval_shape(partial(build, candidate))) for candidate in (plain, behind)
    ]
    assert counts == [CONFIG.parameter_count] * 2
    assert behind.settings == {**plain.settings, "pixel_order": list(PATCHES)}
