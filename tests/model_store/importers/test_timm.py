import json
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.errors import ParameterMismatch, StoreError, WeightsRefused
from model_store.importers.imported import evaluation_pipeline
from model_store.importers.npz import read_npz, write_npz
from model_store.importers.timm import read_timm, timm_name, write_timm
from model_store.preprocess import Preprocessing
from tests.model_store.importers.test_npz import assert_same
from tests.model_store.tiny import TINY, random_arrays

ARRAYS = random_arrays(TINY)
DEEP = TINY.model_copy(update={"depth": 12})
BLOCK = {
    "norm1.weight": (5,),
    "norm1.bias": (5,),
    "mlp_tokens.fc1.weight": (7, 9),
    "mlp_tokens.fc1.bias": (7,),
    "mlp_tokens.fc2.weight": (9, 7),
    "mlp_tokens.fc2.bias": (9,),
    "norm2.weight": (5,),
    "norm2.bias": (5,),
    "mlp_channels.fc1.weight": (11, 5),
    "mlp_channels.fc1.bias": (11,),
    "mlp_channels.fc2.weight": (5, 11),
    "mlp_channels.fc2.bias": (5,),
}
# The state dict of timm's MlpMixer with the dimensions of TINY, in PyTorch's layouts.
STATE_DICT = {
    "stem.proj.weight": (5, 3, 4, 4),
    "stem.proj.bias": (5,),
    **{f"blocks.{i}.{name}": shape for i in range(3) for name, shape in BLOCK.items()},
    "norm.weight": (5,),
    "norm.bias": (5,),
    "head.weight": (6, 5),
    "head.bias": (6,),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.safetensors"


def state_dict() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {k: rng.standard_normal(shape).astype("f4") for k, shape in STATE_DICT.items()}


def write(path: Path, tensors: dict[str, np.ndarray]) -> None:
    path.write_bytes(safetensors.numpy.save(tensors))


def refusal(path: Path, error: type[StoreError] = WeightsRefused) -> str:
    with pytest.raises(error) as refused:
        read_timm(path)
    line = str(refused.value)
    assert line.startswith(f"{path.name}: ")
    assert line.isprintable()
    assert str(path.parent) not in line
    return line


def test_round_trip_from_the_store_is_bit_exact(path: Path) -> None:
    arrays = random_arrays(DEEP)
    write_timm(path, arrays)
    imported = read_timm(path)
    assert imported.config == DEEP
    assert_same(imported.arrays, arrays)


def test_round_trip_from_timm_is_bit_exact(path: Path) -> None:
    write(path, state_dict())
    write_timm(path, read_timm(path).arrays)
    found = safetensors.numpy.load(path.read_bytes())
    assert found.keys() == STATE_DICT.keys()
    for name, tensor in state_dict().items():
        assert np.array_equal(found[name], tensor), name


def test_all_three_layouts_in_a_row_are_bit_exact(tmp_path: Path, path: Path) -> None:
    write_npz(tmp_path / "1.npz", ARRAYS)
    write_timm(path, read_npz(tmp_path / "1.npz").arrays)
    write_npz(tmp_path / "2.npz", read_timm(path).arrays)
    assert (tmp_path / "2.npz").read_bytes() == (tmp_path / "1.npz").read_bytes()


def test_every_entry_lands_where_the_layouts_say(path: Path) -> None:
    tensors = state_dict()
    write(path, tensors)
    arrays = read_timm(path).arrays
    for y, x, colour, channel in np.ndindex(4, 4, 3, 5):
        found = arrays["stem/kernel"][y, x, colour, channel]
        assert found == tensors["stem.proj.weight"][channel, colour, y, x]
    for store, timm in (
        ("MixerBlock_1/token_mixing/Dense_0/kernel", "blocks.1.mlp_tokens.fc1.weight"),
        ("MixerBlock_1/token_mixing/Dense_1/kernel", "blocks.1.mlp_tokens.fc2.weight"),
        ("MixerBlock_1/channel_mixing/Dense_0/kernel", "blocks.1.mlp_channels.fc1.weight"),
        ("MixerBlock_1/channel_mixing/Dense_1/kernel", "blocks.1.mlp_channels.fc2.weight"),
        ("head/kernel", "head.weight"),
    ):
        assert np.array_equal(arrays[store], tensors[timm].T), store
    for store, timm in (
        ("MixerBlock_2/LayerNorm_0/scale", "blocks.2.norm1.weight"),
        ("MixerBlock_2/LayerNorm_1/bias", "blocks.2.norm2.bias"),
        ("pre_head_layer_norm/scale", "norm.weight"),
        ("MixerBlock_0/channel_mixing/Dense_1/bias", "blocks.0.mlp_channels.fc2.bias"),
    ):
        assert np.array_equal(arrays[store], tensors[timm]), store


def test_names_map_one_to_one() -> None:
    assert [timm_name(name) for name in ARRAYS] == list(STATE_DICT)


def test_defaults_are_the_authors_and_a_caller_may_say_otherwise(path: Path) -> None:
    write(path, state_dict())
    imported = read_timm(path)
    assert imported.config == TINY
    assert imported.preprocessing == Preprocessing(
        resize="shorter_side", resize_size=14, crop_size=12, filter="bicubic"
    )
    miil = evaluation_pipeline(12, filter="bilinear", input_range=(0.0, 1.0))
    chosen = read_timm(path, gelu="erf", preprocessing=miil)
    assert chosen.config == TINY.model_copy(update={"gelu": "erf"})
    assert (chosen.preprocessing.filter, chosen.preprocessing.input_range) == ("bilinear", (0, 1))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_narrower_types_are_widened_exactly(path: Path, dtype: Any) -> None:
    narrow = {name: array.astype(dtype) for name, array in ARRAYS.items()}
    write_timm(path, narrow)
    wanted = {name: array.astype(np.float32) for name, array in narrow.items()}
    assert_same(read_timm(path).arrays, wanted)


def test_a_file_without_a_head_is_a_mixer_without_classes(path: Path) -> None:
    headless = TINY.model_copy(update={"num_classes": 0})
    write_timm(path, random_arrays(headless))
    assert read_timm(path).config == headless


def test_other_names_print_both_key_sets(path: Path) -> None:
    tensors = state_dict()
    del tensors["head.bias"]
    write(path, tensors | {"stem.norm.weight": np.ones(5, np.float32)})
    with pytest.raises(ParameterMismatch) as refused:
        read_timm(path)
    lines = str(refused.value).splitlines()
    assert lines[0] == "w.safetensors: parameter names do not fit: 1 missing, 1 unexpected"
    assert lines[1:3] == ["  missing:    head/bias", "  unexpected: stem.norm.weight"]


def test_the_store_s_own_layout_is_not_taken_for_timm_s(path: Path) -> None:
    write(path, ARRAYS)
    assert "has a / in its name, which timm's have not" in refusal(path)


@pytest.mark.parametrize("data", [b"", b"\x80\x02}q\x00.", b"PK\x03\x04" * 10, b"\xff" * 64])
def test_what_is_no_safetensors(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert "no safetensors file, or one damaged or cut short" in refusal(path)


def test_what_is_no_file(path: Path) -> None:
    assert "cannot be read" in refusal(path)
    path.mkdir()
    assert "cannot be read" in refusal(path)


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_what_is_cut_short(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    path = tmp_path_factory.mktemp("cut") / "w.safetensors"
    data = safetensors.numpy.save(state_dict())
    path.write_bytes(data[: int(share * len(data))])
    refusal(path)


def write_raw(path: Path, header: dict[str, Any], data: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize(
    ("second", "data"),
    [
        ((4, 12), 12),  # overlaps the first
        ((12, 20), 20),  # leaves a hole
        ((8, 20), 20),  # is not the size of its shape
        ((8, 16), 20),  # leaves bytes behind
        ((8, 16), 12),  # ends after the file
    ],
)
def test_offsets_that_lie(path: Path, second: tuple[int, int], data: int) -> None:
    tensor = {"dtype": "F32", "shape": [2]}
    header = {"a": tensor | {"data_offsets": [0, 8]}, "b": tensor | {"data_offsets": second}}
    write_raw(path, header, bytes(data))
    assert "damaged or cut short" in refusal(path)


@pytest.mark.parametrize("size", [2**40, 2**63, 101 << 20])
def test_a_header_that_claims_gigabytes(path: Path, size: int) -> None:
    path.write_bytes(struct.pack("<Q", size) + b"{}")
    assert "damaged or cut short" in refusal(path)


@pytest.mark.parametrize("dtype", ["f8", "i4", "?"])
def test_types_that_are_no_weights(path: Path, dtype: str) -> None:
    write(path, state_dict() | {"head.bias": np.zeros(6, dtype)})
    line = refusal(path)
    assert "the tensor head.bias has dtype" in line
    assert "float32, float16 and bfloat16 are allowed" in line


def test_values_that_are_no_numbers(path: Path) -> None:
    write(path, state_dict() | {"head.bias": np.full(6, np.nan, np.float32)})
    assert "head/bias holds NaN or infinite values" in refusal(path, ParameterMismatch)


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("stem.proj.weight", (5, 1, 4, 4), "the architecture needs (4, 4, 3, 5)"),
        ("stem.proj.weight", (5, 48), "has not 4 axes"),
        ("blocks.0.mlp_tokens.fc1.weight", (7, 8), "8 tokens are no square grid"),
        ("blocks.2.mlp_channels.fc2.weight", (11, 5), "the architecture needs (11, 5)"),
        ("head.weight", (6,), "has not 2 axes"),
    ],
)
def test_shapes_of_no_mixer(path: Path, name: str, shape: tuple[int, ...], reason: str) -> None:
    write(path, state_dict() | {name: np.zeros(shape, np.float32)})
    assert reason in refusal(path, ParameterMismatch)


def test_names_that_a_terminal_should_not_show(path: Path) -> None:
    write(path, state_dict() | {"\x1b[2J": np.zeros(1, np.float32)})
    assert "has more than letters" in refusal(path)
