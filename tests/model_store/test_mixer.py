from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.errors import ParameterMismatch
from model_store.layers import Execution
from model_store.mixer import Mixer, load_mixer, named_parameters
from model_store.parameters import parameter_shapes
from model_store.variants import MixerConfig
from tests.model_store import reference_forward
from tests.model_store.tiny import TINY, random_arrays, random_images

ARRAYS = random_arrays(TINY)
IMAGES = random_images(TINY, batch=2)


@cache
def compiled(
    config: MixerConfig,
) -> Callable[[nnx.State[Any, Any], jax.Array], tuple[jax.Array, jax.Array]]:
    """Compile the forward pass of `config` once, for any parameters."""
    graph, _ = nnx.split(load_mixer(config, random_arrays(config)))
    return jax.jit(lambda state, x: nnx.merge(graph, state)(x))


def run(
    arrays: dict[str, np.ndarray], images: np.ndarray, config: MixerConfig = TINY
) -> tuple[np.ndarray, np.ndarray]:
    state = nnx.state(load_mixer(config, arrays))
    logits, embedding = compiled(config)(state, jnp.asarray(images))
    return np.asarray(logits), np.asarray(embedding)


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("gelu", ["tanh", "erf"])
def test_agrees_with_the_reference_in_float64(gelu: Literal["tanh", "erf"]) -> None:
    logits, embedding = run(ARRAYS, IMAGES, TINY.model_copy(update={"gelu": gelu}))
    wanted_logits, wanted_embedding = reference_forward.forward(IMAGES, ARRAYS, gelu=gelu)
    assert logits.shape == (2, 6)
    assert relative_error(logits, wanted_logits) < 1e-5
    assert embedding.shape == (2, 5)
    assert relative_error(embedding, wanted_embedding) < 1e-5


def test_gelu_switch_changes_the_logits_a_little() -> None:
    erf, _ = run(ARRAYS, IMAGES, TINY.model_copy(update={"gelu": "erf"}))
    tanh, _ = run(ARRAYS, IMAGES)
    assert 1e-5 < relative_error(erf, tanh) < 1e-2


@pytest.mark.parametrize("gelu", ["tanh", "erf"])
def test_models_of_one_config_share_one_trace(gelu: Literal["tanh", "erf"]) -> None:
    config = TINY.model_copy(update={"gelu": gelu})
    traced = []

    @nnx.jit
    def forward(model: Mixer, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        traced.append(model.config)
        return model(x)

    for seed in range(2):
        forward(load_mixer(config, random_arrays(config, seed)), jnp.asarray(IMAGES))
    assert traced == [config]


def test_without_a_key_a_call_repeats_bit_for_bit() -> None:
    model = nnx.jit(Mixer(TINY, Execution(dropout=0.5, stochastic_depth=0.5), rngs=nnx.Rngs(0)))
    first, second = model(jnp.asarray(IMAGES))[1], model(jnp.asarray(IMAGES))[1]
    assert np.array_equal(first, second)


def test_untrained_head_gives_exact_zeros() -> None:
    logits, embedding = Mixer(TINY, rngs=nnx.Rngs(0))(jnp.asarray(IMAGES))
    assert np.array_equal(logits, np.zeros((2, 6)))
    assert np.abs(embedding).max() > 0.1


def test_without_classes_only_the_embedding_is_computed() -> None:
    headless = TINY.model_copy(update={"num_classes": 0})
    arrays = {name: ARRAYS[name] for name in parameter_shapes(headless)}
    logits, embedding = run(arrays, IMAGES, headless)
    assert logits.shape == (2, 0)
    assert relative_error(embedding, run(ARRAYS, IMAGES)[1]) < 1e-6


def test_layer_norm_epsilon_is_the_authors() -> None:
    # Tokens with a standard deviation near 1e-3: with an epsilon of 1e-5 they would end elsewhere.
    quiet = ARRAYS | {
        name: array * np.float32(1e-3)
        for name, array in ARRAYS.items()
        if name.startswith("stem/") or "/Dense_1/" in name
    }
    _, embedding = run(quiet, IMAGES)
    _, wanted = reference_forward.forward(IMAGES, quiet, gelu="tanh")
    other = TINY.model_copy(update={"layer_norm_epsilon": 1e-5})
    _, other_embedding = run(quiet, IMAGES, other)
    assert relative_error(embedding, wanted) < 1e-4
    assert relative_error(other_embedding, wanted) > 0.1


def test_tokens_are_normalised_before_they_are_averaged() -> None:
    # Every block adds nothing, so that the embedding is a function of the stem alone.
    arrays = {
        name: np.zeros_like(array) if "/Dense_1/" in name else array
        for name, array in ARRAYS.items()
    }
    tokens_BxSxC = reference_forward.tokens(IMAGES.astype(np.float64), arrays)
    name = "pre_head_layer_norm"
    norm_then_mean = reference_forward.layer_norm(tokens_BxSxC, arrays, name).mean(axis=1)
    mean_then_norm = reference_forward.layer_norm(tokens_BxSxC.mean(axis=1), arrays, name)
    _, embedding = run(arrays, IMAGES)
    assert relative_error(embedding, norm_then_mean) < 1e-5
    assert relative_error(embedding, mean_then_norm) > 0.1


def test_tokens_are_ordered_row_by_row() -> None:
    # Token 5 of a grid of 3 is the patch in row 1, column 2. Only its place tells it apart.
    image = np.zeros((1, 12, 12, 3), np.float32)
    image[0, 4:8, 8:12] = 1
    stem = load_mixer(TINY, ARRAYS).stem
    tokens_SxC = np.asarray(stem(jnp.asarray(image))).reshape(9, 5)
    differs = np.abs(tokens_SxC - ARRAYS["stem/bias"]).max(axis=1) > 1e-3
    assert np.flatnonzero(differs).tolist() == [5]
    first_unit = {"MixerBlock_0/token_mixing/Dense_0/kernel": np.zeros((9, 7), np.float32)}
    first_unit["MixerBlock_0/token_mixing/Dense_0/kernel"][5] = 1
    _, with_patch = run(ARRAYS | first_unit, image)
    _, wanted = reference_forward.forward(image, ARRAYS | first_unit, gelu="tanh")
    assert relative_error(with_patch, wanted) < 1e-5


def test_an_image_s_outputs_do_not_depend_on_its_batch() -> None:
    images = random_images(TINY, batch=5)
    logits, embedding = run(ARRAYS, images)
    for i in range(5):
        alone_logits, alone_embedding = run(ARRAYS, images[i : i + 1])
        assert relative_error(alone_logits, logits[i : i + 1]) < 1e-6
        assert relative_error(alone_embedding, embedding[i : i + 1]) < 1e-6


@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (2, 12, 16, 3), (2, 12, 12, 1), (12, 12, 3)])
def test_images_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"the model takes \(12, 12, 3\)"):
        load_mixer(TINY, ARRAYS)(jnp.zeros(shape))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_permuted_patches_and_pixels_with_permuted_weights_change_nothing(seed: int) -> None:
    # Spec section 7.3: one order of the patches, and one order of the pixels in every patch.
    rng = np.random.default_rng(seed)
    patches, pixels = rng.permutation(9), rng.permutation(16)
    grid = IMAGES.reshape(2, 3, 4, 3, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 9, 16, 3)
    shuffled = grid[:, patches][:, :, pixels].reshape(2, 3, 3, 4, 4, 3)
    images = shuffled.transpose(0, 1, 3, 2, 4, 5).reshape(2, 12, 12, 3)
    arrays = dict(ARRAYS)
    arrays["stem/kernel"] = ARRAYS["stem/kernel"].reshape(16, 3, 5)[pixels].reshape(4, 4, 3, 5)
    for i in range(3):
        mixing = f"MixerBlock_{i}/token_mixing"
        arrays[f"{mixing}/Dense_0/kernel"] = ARRAYS[f"{mixing}/Dense_0/kernel"][patches]
        arrays[f"{mixing}/Dense_1/kernel"] = ARRAYS[f"{mixing}/Dense_1/kernel"][:, patches]
        arrays[f"{mixing}/Dense_1/bias"] = ARRAYS[f"{mixing}/Dense_1/bias"][patches]
    assert relative_error(run(arrays, images)[0], run(ARRAYS, IMAGES)[0]) < 2e-6


def test_parameters_come_out_under_the_names_they_went_in() -> None:
    found = named_parameters(nnx.state(load_mixer(TINY, ARRAYS), nnx.Param))
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert np.array_equal(found[name], array), name


def test_blocks_past_the_ninth_keep_their_numbers() -> None:
    deep = TINY.model_copy(update={"depth": 12})
    arrays = random_arrays(deep)
    found = named_parameters(nnx.state(load_mixer(deep, arrays), nnx.Param))
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def test_foreign_parameters_are_refused() -> None:
    with pytest.raises(ParameterMismatch, match="1 missing"):
        load_mixer(TINY, {k: v for k, v in ARRAYS.items() if k != "head/bias"})


def test_kernels_start_as_lecun_normal_and_all_else_constant() -> None:
    state = named_parameters(nnx.state(Mixer(TINY, rngs=nnx.Rngs(0)), nnx.Param))
    for name, array in state.items():
        if name == "head/kernel" or name.endswith("/bias"):
            assert not array.any(), name
        elif name.endswith("/scale"):
            assert (array == 1).all(), name
        else:
            # The smallest has 55 values, whose deviation is known to one part in ten.
            assert array.std() * np.sqrt(np.prod(array.shape[:-1])) == pytest.approx(1, abs=0.3)


def test_bfloat16_computes_near_float32_and_answers_in_float32() -> None:
    model = Mixer(TINY, Execution(dtype=jnp.bfloat16), rngs=nnx.Rngs(0))
    exact = Mixer(TINY, rngs=nnx.Rngs(0))
    found, wanted = (nnx.jit(m)(jnp.asarray(IMAGES))[1] for m in (model, exact))
    assert found.dtype == jnp.float32
    assert 1e-4 < relative_error(np.asarray(found), np.asarray(wanted)) < 0.05
    assert {p.dtype for p in jax.tree.leaves(nnx.state(model, nnx.Param))} == {
        jnp.dtype(jnp.float32)
    }


@pytest.mark.parametrize("rematerialise", [False, True])
def test_rematerialised_blocks_give_the_same_gradient_and_are_computed_twice(
    rematerialise: bool,
) -> None:
    def gradient(execution: Execution) -> tuple[Any, str]:
        graph, params = nnx.split(load_mixer(TINY, ARRAYS, execution), nnx.Param)

        def loss(params: nnx.State[Any, Any]) -> jax.Array:
            logits_BxN, _ = nnx.merge(graph, params)(jnp.asarray(IMAGES), jax.random.key(1))
            return (logits_BxN**2).sum()

        return jax.grad(loss)(params), str(jax.make_jaxpr(jax.grad(loss))(params))

    plain, _ = gradient(Execution(stochastic_depth=0.5))
    found, program = gradient(Execution(stochastic_depth=0.5, rematerialise=rematerialise))
    assert ("remat" in program or "checkpoint" in program) == rematerialise
    for wanted, value in zip(jax.tree.leaves(plain), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-5)
