"""The XLA runtime: what it computes, and that calls never compile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model_store.golden import deviation
from model_store.mixer import load_mixer
from model_store.preprocess import normalise
from service.runtimes.xla import XlaProgram, on_compilation
from tests.model_store.tiny import random_arrays
from tests.models import TINY, square_pipeline

ARRAYS = random_arrays(TINY, seed=3)


@pytest.fixture(scope="module")
def program() -> XlaProgram:
    program = XlaProgram(TINY, square_pipeline(TINY), ARRAYS)
    for bucket in (1, 3):
        program.compile(bucket)
    return program


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 12, 12, 3), dtype=np.uint8)


@pytest.mark.parametrize("bucket", [1, 3])
def test_it_computes_the_network_of_the_store(program: XlaProgram, bucket: int) -> None:
    logits, embedding = program(pixels(bucket))
    images = jnp.asarray(pixels(bucket))
    expected = load_mixer(TINY, ARRAYS)(normalise(images, square_pipeline(TINY)))
    assert logits.dtype == embedding.dtype == np.float32
    assert deviation(np.asarray(expected[0]), logits) < 1e-5
    assert deviation(np.asarray(expected[1]), embedding) < 1e-5


def test_an_images_row_does_not_depend_on_its_neighbours(program: XlaProgram) -> None:
    batch = pixels(3)
    others = batch.copy()
    others[[0, 2]] = 255 - others[[0, 2]]
    assert np.array_equal(program(batch)[0][1], program(others)[0][1])


def test_calls_never_compile_and_compiling_is_counted(program: XlaProgram) -> None:
    compilations = []
    on_compilation(lambda: compilations.append(1))
    for _ in range(3):
        program(pixels(1))
        program(pixels(3))
    assert not compilations
    program.compile(2)
    assert compilations


def test_a_batch_of_no_bucket_is_refused(program: XlaProgram) -> None:
    with pytest.raises(KeyError):
        program(pixels(5))


def test_it_names_its_device(program: XlaProgram) -> None:
    assert program.device == jax.local_devices()[0].device_kind
