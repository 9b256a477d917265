"""The OpenVINO runtime: the graph of its own computes the flax network."""

import gc
import os
import platform
import re
import weakref

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.golden import deviation
from model_store.mixer import load_mixer
from model_store.preprocess import Preprocessing, normalise
from model_store.variants import MixerConfig
from service.runtimes import openvino
from service.runtimes.openvino import OpenVinoProgram, is_available
from service.settings import Precision
from tests.model_store.tiny import random_arrays
from tests.models import TINY, square_pipeline

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="OpenVINO's CPU runtime is for x86 here"
)


# Wide enough that int8 rounds activations as well.
WIDE = MixerConfig(
    image_size=6,
    patch_size=2,
    width=264,
    depth=2,
    token_mlp_width=7,
    channel_mlp_width=520,
    num_classes=5,
)
CHANNEL_KERNEL = re.compile(r"channel_mixing/Dense_\d/kernel$")


def pixels(config: MixerConfig, count: int) -> np.ndarray:
    size = config.image_size
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def flax_outputs(
    config: MixerConfig, preprocessing: Preprocessing, arrays: dict[str, np.ndarray], count: int
) -> list[np.ndarray]:
    images = normalise(jnp.asarray(pixels(config, count)), preprocessing)
    return [np.asarray(output) for output in load_mixer(config, arrays)(images)]


def networks(widths: st.SearchStrategy[int]) -> st.SearchStrategy[MixerConfig]:
    return st.builds(
        lambda patch, grid, **sizes: MixerConfig(
            patch_size=patch, image_size=patch * grid, **sizes
        ),
        st.integers(1, 5),
        st.integers(1, 4),
        width=widths,
        depth=st.integers(1, 3),
        token_mlp_width=st.integers(1, 7),
        channel_mlp_width=st.integers(1, 17),
        num_classes=st.integers(0, 6),
        gelu=st.sampled_from(["tanh", "erf"]),
        layer_norm_epsilon=st.sampled_from([1e-6, 1e-3]),
    )


# Of two channels that happen to be alike, LayerNorm magnifies the rounding a thousand times.
configs = networks(st.integers(5, 13))


@settings(max_examples=15, deadline=None)
@given(configs, st.sampled_from([(-1.0, 1.0), (0.0, 1.0), (-2.1, 2.6)]), st.integers(1, 5))
def test_it_computes_the_network_of_the_store(
    config: MixerConfig, input_range: tuple[float, float], count: int
) -> None:
    preprocessing = square_pipeline(config).model_copy(update={"input_range": input_range})
    arrays = random_arrays(config, seed=7)
    found = OpenVinoProgram(config, preprocessing, arrays)(pixels(config, count))
    expected = flax_outputs(config, preprocessing, arrays, count)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == np.float32
        assert deviation(theirs, ours) < 2e-5


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-3), ("int8", 1e-5)]
)
def test_any_batch_size_runs_and_rows_do_not_depend_on_neighbours(
    precision: Precision, tolerance: float
) -> None:
    """Where bfloat16 has no instructions of its own, another size may be rounded otherwise."""
    arrays, pipeline = random_arrays(WIDE, seed=3), square_pipeline(WIDE)
    program = OpenVinoProgram(WIDE, pipeline, arrays, precision=precision)
    together = program(pixels(WIDE, 5))
    for i in range(5):
        alone = program(pixels(WIDE, 5)[i : i + 1])
        for batch, single in zip(together, alone, strict=True):
            np.testing.assert_allclose(batch[i : i + 1], single, rtol=0, atol=tolerance)


def test_an_answer_is_not_overwritten_by_the_next_call() -> None:
    program = OpenVinoProgram(TINY, square_pipeline(TINY), random_arrays(TINY, seed=3))
    first = program(pixels(TINY, 2))[0]
    kept = first.copy()
    program(255 - pixels(TINY, 2))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
@pytest.mark.parametrize("config", [TINY, WIDE])
def test_reduced_precision_deviates_a_little_from_float32(
    config: MixerConfig, precision: Precision
) -> None:
    arrays, pipeline = random_arrays(config, seed=3), square_pipeline(config)
    expected = OpenVinoProgram(config, pipeline, arrays)(pixels(config, 4))
    found = OpenVinoProgram(config, pipeline, arrays, precision=precision)(pixels(config, 4))
    assert 1e-5 < deviation(expected[0], found[0]) < 0.02


@settings(max_examples=15, deadline=None)
@given(networks(st.integers(40, 64)), st.integers(1, 5))
def test_bfloat16_computes_the_network_but_for_rounding(config: MixerConfig, count: int) -> None:
    """Its graph is another one. Without the GELU of token mixing it deviates ten times as much."""
    arrays, pipeline = random_arrays(config, seed=7), square_pipeline(config)
    program = OpenVinoProgram(config, pipeline, arrays, precision="bfloat16")
    found = program(pixels(config, count))
    expected = flax_outputs(config, pipeline, arrays, count)
    for ours, theirs in zip(found, expected, strict=True):
        assert deviation(theirs, ours) < 0.05


@settings(max_examples=15, deadline=None)
@given(configs, st.integers(1, 5))
def test_int8_rounds_each_output_of_channel_mixing_by_its_largest_weight(
    config: MixerConfig, count: int
) -> None:
    """Activations are rounded in wider networks alone: here the weights' rounding is all there is.

    One kernel's outputs differ in size by ten thousand, which one scale for all could not hold,
    and one output's weights are all zero.
    """
    arrays = random_arrays(config, seed=7)
    name = "MixerBlock_0/channel_mixing/Dense_0/kernel"
    arrays[name] *= np.logspace(-3, 1, config.channel_mlp_width, dtype=np.float32)
    arrays[name][:, 0] = 0
    rounded = {k: rounded_to_int8(v) if CHANNEL_KERNEL.search(k) else v for k, v in arrays.items()}
    pipeline = square_pipeline(config)
    found = OpenVinoProgram(config, pipeline, arrays, precision="int8")(pixels(config, count))
    expected = flax_outputs(config, pipeline, rounded, count)
    for ours, theirs in zip(found, expected, strict=True):
        assert deviation(theirs, ours) < 2e-5


def rounded_to_int8(kernel_KxN: np.ndarray) -> np.ndarray:
    steps = [max(abs(column_K)) / np.float32(127) or np.float32(1) for column_K in kernel_KxN.T]
    columns = [np.rint(c_K / step) * step for c_K, step in zip(kernel_KxN.T, steps, strict=True)]
    return np.stack(columns, axis=1)


def test_parameters_stored_in_bfloat16_are_read() -> None:
    arrays = {k: v.astype(jnp.bfloat16) for k, v in random_arrays(TINY, seed=3).items()}
    found = OpenVinoProgram(TINY, square_pipeline(TINY), arrays)(pixels(TINY, 3))
    expected = flax_outputs(TINY, square_pipeline(TINY), arrays, 3)
    assert deviation(expected[0], found[0]) < 2e-5


def test_in_int8_nothing_of_the_parameters_is_kept() -> None:
    """They are read into one piece of memory, four times as large as what is made of them."""
    arrays = random_arrays(WIDE, seed=5)
    read = np.concatenate([array.ravel() for array in arrays.values()])
    ends = np.cumsum([array.size for array in arrays.values()])
    views = {
        name: read[end - array.size : end].reshape(array.shape)
        for (name, array), end in zip(arrays.items(), ends, strict=True)
    }
    program = OpenVinoProgram(WIDE, square_pipeline(WIDE), views, precision="int8")
    kept = weakref.ref(read)
    del read, views
    gc.collect()
    assert kept() is None
    expected = flax_outputs(WIDE, square_pipeline(WIDE), arrays, 3)
    assert deviation(expected[0], program(pixels(WIDE, 3))[0]) < 0.05


def test_each_compilation_is_told() -> None:
    told: list[int] = []
    program = OpenVinoProgram(
        TINY,
        square_pipeline(TINY),
        random_arrays(TINY, seed=3),
        on_compilation=lambda: told.append(1),
    )
    assert told == [1]
    program.compile(3)
    program(pixels(TINY, 3))
    assert told == [1]


def test_it_is_available_here() -> None:
    assert is_available()


@pytest.mark.parametrize("cores", [1, 2])
def test_it_takes_no_more_threads_than_there_are_cores_for_it(
    monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    """A container's quota is unknown to OpenVINO, which would take all cores of the machine."""
    monkeypatch.setattr(openvino, "available_cores", lambda: cores)
    program = OpenVinoProgram(TINY, square_pipeline(TINY), random_arrays(TINY, seed=1))
    assert program.threads == min(cores, len(os.sched_getaffinity(0)))
