from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from model_store.errors import Corrupt, ParameterMismatch
from model_store.parameters import check_parameters, parameter_shapes, read_parameters
from model_store.variants import VARIANTS, variant_config
from tests.model_store.tiny import TINY, random_arrays

# Spec section 2.2, with the dimensions of TINY.
BLOCK = {
    "LayerNorm_0/scale": (5,),
    "LayerNorm_0/bias": (5,),
    "token_mixing/Dense_0/kernel": (9, 7),
    "token_mixing/Dense_0/bias": (7,),
    "token_mixing/Dense_1/kernel": (7, 9),
    "token_mixing/Dense_1/bias": (9,),
    "LayerNorm_1/scale": (5,),
    "LayerNorm_1/bias": (5,),
    "channel_mixing/Dense_0/kernel": (5, 11),
    "channel_mixing/Dense_0/bias": (11,),
    "channel_mixing/Dense_1/kernel": (11, 5),
    "channel_mixing/Dense_1/bias": (5,),
}
HEAD = {"head/kernel": (5, 6), "head/bias": (6,)}
EXPECTED = {
    "stem/kernel": (4, 4, 3, 5),
    "stem/bias": (5,),
    **{f"MixerBlock_{i}/{name}": shape for i in range(3) for name, shape in BLOCK.items()},
    "pre_head_layer_norm/scale": (5,),
    "pre_head_layer_norm/bias": (5,),
    **HEAD,
}


def test_names_and_shapes_are_those_of_the_official_files() -> None:
    assert list(parameter_shapes(TINY).items()) == list(EXPECTED.items())


def test_without_classes_there_is_no_head() -> None:
    headless = TINY.model_copy(update={"num_classes": 0})
    assert parameter_shapes(headless).items() == EXPECTED.items() - HEAD.items()


@pytest.mark.parametrize("name", VARIANTS)
def test_shapes_add_up_to_the_parameter_count(name: str) -> None:
    config = variant_config(name, num_classes=1000)
    shapes = parameter_shapes(config)
    assert len(shapes) == 12 * config.depth + 6
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == config.parameter_count


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, jnp.bfloat16])
def test_exact_parameters_of_any_floating_type_are_accepted(dtype: np.dtype) -> None:
    arrays = {name: array.astype(dtype) for name, array in random_arrays(TINY).items()}
    check_parameters(TINY, arrays)


def test_other_names_print_both_key_sets_and_the_difference() -> None:
    arrays = random_arrays(TINY)
    arrays["head/weight"] = arrays.pop("head/kernel")
    with pytest.raises(ParameterMismatch) as refusal:
        check_parameters(TINY, arrays)
    first, missing, unexpected, expected, found = str(refusal.value).splitlines()
    assert first == "parameter names do not fit: 1 missing, 1 unexpected"
    assert missing == "  missing:    head/kernel"
    assert unexpected == "  unexpected: head/weight"
    assert expected == "  expected (42): " + ", ".join(sorted(EXPECTED))
    assert found == "  found (42): " + ", ".join(sorted(arrays))


def test_transposed_kernel_is_refused() -> None:
    arrays = random_arrays(TINY)
    name = "MixerBlock_1/token_mixing/Dense_0/kernel"
    arrays[name] = arrays[name].T
    with pytest.raises(ParameterMismatch, match=rf"{name} has shape \(7, 9\), .* needs \(9, 7\)"):
        check_parameters(TINY, arrays)


def test_integers_are_refused() -> None:
    arrays = random_arrays(TINY) | {"head/bias": np.zeros(6, np.int32)}
    with pytest.raises(ParameterMismatch, match="head/bias has dtype int32"):
        check_parameters(TINY, arrays)


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(value: float, dtype: np.dtype) -> None:
    arrays = random_arrays(TINY)
    arrays["stem/bias"][-1] = value
    arrays["stem/bias"] = arrays["stem/bias"].astype(dtype)
    with pytest.raises(ParameterMismatch, match="stem/bias holds NaN or infinite values"):
        check_parameters(TINY, arrays)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.float32, np.float64])
def test_what_safetensors_wrote_is_read(tmp_path: Path, dtype: type) -> None:
    rng = np.random.default_rng(3)
    shapes = {"z": (5, 2, 3), "a": (7,), "m": (1, 4), "single": ()}
    written: dict[str, np.ndarray] = {
        name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()
    }
    save_file(written, tmp_path / "file")
    found = read_parameters(tmp_path / "file")
    assert found.keys() == written.keys()
    for name, array in written.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_file_may_hold_nothing(tmp_path: Path) -> None:
    save_file({}, tmp_path / "file")
    assert read_parameters(tmp_path / "file") == {}


def test_a_type_that_no_parameter_has_is_named(tmp_path: Path) -> None:
    save_file({"counts": np.arange(3, dtype=np.int16)}, tmp_path / "file")
    with pytest.raises(Corrupt, match="counts is of type I16, which no parameter has"):
        read_parameters(tmp_path / "file")
