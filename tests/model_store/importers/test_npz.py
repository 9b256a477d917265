"""What is read from an `.npz`; what is refused is in test_npz_hostile."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from model_store.errors import ParameterMismatch
from model_store.importers.imported import evaluation_pipeline
from model_store.importers.npz import read_npz, write_npz
from model_store.parameters import parameter_shapes
from model_store.preprocess import Preprocessing
from tests.model_store.tiny import TINY, random_arrays

ARRAYS = random_arrays(TINY)
DEEP = TINY.model_copy(update={"depth": 12})


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    """Hold names, order, types and bits against each other."""
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.astype(np.float32).tobytes(), name


def test_round_trip_is_bit_exact_both_ways(tmp_path: Path) -> None:
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    write_npz(first, ARRAYS)
    imported = read_npz(first)
    assert imported.config == TINY
    assert_same(imported.arrays, ARRAYS)
    write_npz(second, imported.arrays)
    assert second.read_bytes() == first.read_bytes()


def test_negative_zeros_and_the_smallest_numbers_survive(tmp_path: Path) -> None:
    bias = np.array([-0.0, 1e-45, -3.4e38, 1.1754944e-38, 0.1], np.float32)
    write_npz(tmp_path / "w.npz", ARRAYS | {"stem/bias": bias})
    assert_same(read_npz(tmp_path / "w.npz").arrays, ARRAYS | {"stem/bias": bias})


def test_written_keys_are_the_official_ones(tmp_path: Path) -> None:
    write_npz(tmp_path / "w.npz", random_arrays(DEEP))
    with np.load(tmp_path / "w.npz") as archive:
        assert len(archive.files) == 12 * 12 + 6
        assert archive.files == list(parameter_shapes(DEEP))


def test_defaults_are_the_authors_and_a_caller_may_say_otherwise(tmp_path: Path) -> None:
    write_npz(tmp_path / "w.npz", ARRAYS)
    imported = read_npz(tmp_path / "w.npz")
    assert (imported.config.gelu, imported.config.layer_norm_epsilon) == ("tanh", 1e-6)
    assert imported.preprocessing == Preprocessing(
        resize="shorter_side", resize_size=14, crop_size=12, filter="bicubic"
    )
    other = Preprocessing(resize="squash", resize_size=12, crop_size=12, input_range=(0, 1))
    chosen = read_npz(tmp_path / "w.npz", gelu="erf", preprocessing=other)
    assert chosen.config.gelu == "erf"
    assert chosen.preprocessing == other


def test_224_pixels_are_cropped_from_256_and_384_from_439() -> None:
    assert [evaluation_pipeline(size).resize_size for size in (224, 384)] == [256, 439]


def test_compressed_and_fortran_ordered_arrays_are_read(tmp_path: Path) -> None:
    turned = {name: np.asfortranarray(array) for name, array in ARRAYS.items()}
    np.savez_compressed(tmp_path / "w.npz", **turned)  # type: ignore[arg-type]
    assert_same(read_npz(tmp_path / "w.npz").arrays, ARRAYS)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, ">f4"])
def test_narrower_and_swapped_types_become_float32_exactly(tmp_path: Path, dtype: str) -> None:
    # numpy has no name for bfloat16 in a file: it is two bytes of void there.
    stored = {name: array.astype(dtype, order="F") for name, array in ARRAYS.items()}
    write_npz(tmp_path / "w.npz", stored)
    wanted = {name: array.astype(np.float32) for name, array in stored.items()}
    assert_same(read_npz(tmp_path / "w.npz").arrays, wanted)


@pytest.mark.parametrize("prefix", ["params/", "opt/target/"])
def test_trainers_prefix_is_stripped_and_their_state_left_alone(
    tmp_path: Path, prefix: str
) -> None:
    # The state is not even read: object arrays could hold anything.
    state = {"opt/state/step": np.int64(7), "opt/state/count": np.array({}, dtype=object)}
    prefixed = {prefix + name: array for name, array in ARRAYS.items()}
    np.savez(tmp_path / "w.npz", **state, **prefixed)  # type: ignore[arg-type]
    assert_same(read_npz(tmp_path / "w.npz").arrays, ARRAYS)


def old_name(name: str) -> str:
    """Return the name that a parameter had before the release."""
    module, leaf = name.rsplit("/", 1)
    module = module.replace("MixerBlock_", "Mixer/encoderblock_")
    for kind in ("token", "channel"):
        for dense in (0, 1):
            if module.endswith(f"{kind}_mixing/Dense_{dense}"):
                return f"{module.removesuffix(f'ing/Dense_{dense}')}ing_phase_0/{leaf}{dense + 1}"
    # The numbers counted all modules of a block. By letters, 10 comes before 9.
    module = module.replace("LayerNorm_0", "LayerNorm_9").replace("LayerNorm_1", "LayerNorm_10")
    module = module.replace("pre_head_layer_norm", "Mixer/encoder_norm")
    return f"{module.replace('stem', 'embedding')}/{leaf}"


def old_layout(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    def widened(name: str, array: np.ndarray) -> np.ndarray:
        return array[None, :, None] if "_mixing/" in name else array

    return {old_name(name): widened(name, array) for name, array in arrays.items()}


@pytest.mark.parametrize("prefix", ["", "opt/target/"])
def test_old_layout_is_read(tmp_path: Path, prefix: str) -> None:
    arrays = random_arrays(DEEP)
    old = {prefix + name: array for name, array in old_layout(arrays).items()}
    assert f"{prefix}Mixer/encoderblock_11/token_mixing_phase_0/kernel2" in old
    assert f"{prefix}Mixer/encoderblock_10/LayerNorm_10/scale" in old
    write_npz(tmp_path / "w.npz", dict(sorted(old.items())))
    imported = read_npz(tmp_path / "w.npz")
    assert imported.config == DEEP
    assert_same(imported.arrays, arrays)


def test_a_file_without_a_head_is_a_mixer_without_classes(tmp_path: Path) -> None:
    headless = TINY.model_copy(update={"num_classes": 0})
    write_npz(tmp_path / "w.npz", random_arrays(headless))
    imported = read_npz(tmp_path / "w.npz")
    assert imported.config == headless
    assert_same(imported.arrays, random_arrays(headless))


@pytest.mark.parametrize("half", ["head/kernel", "head/bias"])
def test_half_a_head_is_refused(tmp_path: Path, half: str) -> None:
    write_npz(tmp_path / "w.npz", {k: v for k, v in ARRAYS.items() if k != half})
    with pytest.raises(ParameterMismatch, match=f"missing:    {half}"):
        read_npz(tmp_path / "w.npz")


def test_other_names_print_both_key_sets(tmp_path: Path) -> None:
    write_npz(tmp_path / "w.npz", ARRAYS | {"cls/token": np.zeros(5, np.float32)})
    with pytest.raises(ParameterMismatch) as refusal:
        read_npz(tmp_path / "w.npz")
    lines = str(refusal.value).splitlines()
    assert lines[0] == "w.npz: parameter names do not fit: 0 missing, 1 unexpected"
    assert lines[2] == "  unexpected: cls/token"
    assert lines[3] == "  expected (42): " + ", ".join(sorted(ARRAYS))


def test_a_missing_block_is_named(tmp_path: Path) -> None:
    gap = {k: v for k, v in ARRAYS.items() if not k.startswith("MixerBlock_1/")}
    write_npz(tmp_path / "w.npz", gap)
    with pytest.raises(ParameterMismatch, match=r"12 missing, 12 unexpected"):
        read_npz(tmp_path / "w.npz")


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    path.write_bytes(b"before")

    class Broken(np.ndarray):
        def __reduce__(self) -> str:
            raise RuntimeError

    unwritable = np.empty(1, dtype=object)
    unwritable[0] = np.zeros(1).view(Broken)
    with pytest.raises(RuntimeError):
        write_npz(path, {**ARRAYS, "head/bias": unwritable})
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
