import io
import json
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

import ml_dtypes
import numpy as np
import pytest
from PIL import Image

from model_store.assembly import golden_outputs, make_checkpoint
from model_store.checkpoint import Checkpoint
from model_store.errors import Corrupt, InvalidManifest, NotFound, ParameterMismatch
from model_store.golden import deviation, draw_golden_images
from model_store.manifest import PARAMETERS_FILE, record
from model_store.mixer import load_mixer
from model_store.parameters import read_parameters
from model_store.store import ModelStore
from model_store.variants import MixerConfig
from tests.model_store.tiny import TINY, random_arrays
from tests.model_store.versions import PREPROCESSING, PROVENANCE, version

Dtype = Literal["float32", "bfloat16"]
ARRAYS = random_arrays(TINY)


def make(
    arrays: dict[str, np.ndarray] = ARRAYS,
    *,
    config: MixerConfig = TINY,
    labels: tuple[str, ...] = (),
    dtype: Dtype = "float32",
    golden: dict[str, bytes] | None = None,
) -> Checkpoint:
    return make_checkpoint(
        config,
        PREPROCESSING,
        labels=labels,
        arrays=arrays,
        provenance=PROVENANCE,
        dtype=dtype,
        golden=golden,
    )


@cache
def made(dtype: Dtype) -> Checkpoint:
    """Return `make(dtype=dtype)`, compiled once."""
    return make(dtype=dtype)


def golden_deviation(checkpoint: Checkpoint, arrays: dict[str, np.ndarray]) -> float:
    """Return how far the recorded outputs are from those of these parameters."""
    manifest = checkpoint.manifest
    images = [Image.open(io.BytesIO(checkpoint.files[each.file])) for each in manifest.golden]
    logits, embedding = golden_outputs(
        load_mixer(manifest.architecture, arrays), manifest.preprocessing, images
    )
    return max(
        deviation(np.array([each.logits for each in manifest.golden]), logits),
        deviation(np.array([each.embedding for each in manifest.golden]), embedding),
    )


def test_a_checkpoint_describes_itself() -> None:
    checkpoint = make(labels=("ant", "bee", "cow", "dog", "eel", "fox"))
    manifest = checkpoint.manifest
    assert manifest.architecture == TINY
    assert manifest.preprocessing == PREPROCESSING
    assert manifest.labels == ("ant", "bee", "cow", "dog", "eel", "fox")
    assert [golden.file for golden in manifest.golden] == list(draw_golden_images())
    assert checkpoint.files.keys() == {PARAMETERS_FILE, *draw_golden_images()}
    assert manifest.files == {name: record(data) for name, data in checkpoint.files.items()}


def stored(checkpoint: Checkpoint, folder: Path) -> dict[str, np.ndarray]:
    """Return what a reader finds in the parameters' file."""
    (folder / "file").write_bytes(checkpoint.files[PARAMETERS_FILE])
    return read_parameters(folder / "file")


def test_float32_parameters_survive_exactly(tmp_path: Path) -> None:
    found = stored(made("float32"), tmp_path)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array)


def test_bfloat16_parameters_are_rounded_once(tmp_path: Path) -> None:
    found = stored(made("bfloat16"), tmp_path)
    assert made("bfloat16").manifest.dtype == "bfloat16"
    for name, array in ARRAYS.items():
        assert found[name].dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(found[name], array.astype(ml_dtypes.bfloat16))


def test_golden_outputs_are_those_of_the_parameters_as_stored(tmp_path: Path) -> None:
    rounded = made("bfloat16")
    assert golden_deviation(rounded, stored(rounded, tmp_path)) < 1e-6
    assert golden_deviation(rounded, ARRAYS) > 1e-4, "rounding shows in the outputs"


@pytest.mark.parametrize(
    "lay",
    [np.asfortranarray, lambda array: array.astype(">f4"), lambda array: array.astype(np.float64)],
    ids=["fortran", "big-endian", "float64"],
)
def test_arrays_may_lie_in_memory_in_any_way(lay: Callable[[np.ndarray], np.ndarray]) -> None:
    arrays = {name: lay(array) for name, array in ARRAYS.items()}
    assert make(arrays).files[PARAMETERS_FILE] == made("float32").files[PARAMETERS_FILE]


def test_a_model_without_a_head_has_golden_embeddings() -> None:
    config = TINY.model_copy(update={"num_classes": 0})
    checkpoint = make(random_arrays(config), config=config)
    assert {golden.logits for golden in checkpoint.manifest.golden} == {()}
    assert {len(golden.embedding) for golden in checkpoint.manifest.golden} == {TINY.width}


def test_golden_images_may_be_given() -> None:
    images = {"golden/mine.png": draw_golden_images()["golden/2.png"]}
    checkpoint = make(golden=images)
    assert [golden.file for golden in checkpoint.manifest.golden] == ["golden/mine.png"]
    expected = made("float32").manifest.golden[2].logits
    assert checkpoint.manifest.golden[0].logits == pytest.approx(expected, abs=1e-5)


def test_other_parameters_are_refused() -> None:
    with pytest.raises(ParameterMismatch):
        make({name: array for name, array in ARRAYS.items() if name != "head/bias"})
    with pytest.raises(ParameterMismatch, match="stem/bias holds NaN"):
        make({**ARRAYS, "stem/bias": np.full(TINY.width, np.nan, np.float32)})


@pytest.mark.parametrize(("dtype", "value"), [("float32", 1e300), ("bfloat16", 3.4e38)])
def test_values_too_large_for_the_stored_type_are_refused(dtype: Dtype, value: float) -> None:
    with pytest.raises(ParameterMismatch, match="head/bias holds NaN or infinite"):
        make({**ARRAYS, "head/bias": np.full(TINY.num_classes, value)}, dtype=dtype)


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidManifest, match="1 labels for 6 classes"):
        make(labels=("ant",))


@pytest.mark.parametrize(
    "change",
    [{PARAMETERS_FILE: b"other"}, {PARAMETERS_FILE: b"the parametres"}, {"extra.py": b""}],
)
def test_files_that_the_manifest_does_not_list_are_refused(change: dict[str, bytes]) -> None:
    good = version()
    with pytest.raises(Corrupt, match=f"not as the manifest lists them: {min(change)}"):
        Checkpoint(good.manifest, {**good.files, **change})


def test_a_missing_file_is_refused() -> None:
    good = version()
    with pytest.raises(Corrupt, match=PARAMETERS_FILE):
        Checkpoint(good.manifest, {k: v for k, v in good.files.items() if k != PARAMETERS_FILE})


@pytest.mark.parametrize("name", ["manifest.json", "claim", "A.txt", "a b", "a#1", "a//b", ".a"])
def test_a_name_that_some_storage_would_not_keep_is_refused(name: str) -> None:
    good = version()
    with pytest.raises(InvalidManifest, match="cannot be called"):
        Checkpoint(good.manifest, {**good.files, name: b""})


def one_tensor(dtype: str, size: int) -> bytes:
    header = json.dumps({"x": {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        b"\xff" * 64,
        b"\x80\x04\x95.",
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 4) + b"null",
        one_tensor("F32", 4)[:-1],
        one_tensor("F32", 4) + b"\0",
        one_tensor("F32", 8),
        one_tensor("F8_E4M3", 1),
    ],
)
def test_damaged_parameters_are_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(Corrupt, match=r"^[^\n]+$"):
        read_parameters(tmp_path / "file")


def test_missing_parameters_are_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"^there is no .*/file$"):
        read_parameters(tmp_path / "file")


def test_a_checkpoint_is_published_and_loaded(tmp_path: Path) -> None:
    checkpoint = made("float32")
    store = ModelStore(str(tmp_path))
    ref = store.publish("m", checkpoint)
    assert store.verify(ref) == checkpoint.manifest
    arrays = read_parameters(store.open(ref) / PARAMETERS_FILE)
    assert golden_deviation(checkpoint, arrays) < 1e-6
