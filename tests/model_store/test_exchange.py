import hashlib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from model_store.errors import InvalidManifest, WeightsRefused
from model_store.exchange import export_parameters, import_checkpoint
from model_store.importers import Format
from model_store.importers.imported import ImportedWeights
from model_store.importers.npz import read_npz, write_npz
from model_store.importers.timm import read_timm, write_timm
from model_store.manifest import PARAMETERS_FILE
from model_store.parameters import read_parameters
from tests.model_store.tiny import TINY, random_arrays

ARRAYS = random_arrays(TINY)


@pytest.fixture(params=["npz", "timm"])
def file_format(request: pytest.FixtureRequest) -> Format:
    chosen: Format = request.param
    return chosen


@pytest.fixture
def weights(file_format: Format, tmp_path: Path) -> Path:
    path = tmp_path / f"weights.{file_format}"
    (write_npz if file_format == "npz" else write_timm)(path, ARRAYS)
    return path


def read(file_format: Format, path: Path) -> ImportedWeights:
    return read_npz(path) if file_format == "npz" else read_timm(path)


def test_an_imported_file_is_a_checkpoint(
    file_format: Format, weights: Path, tmp_path: Path
) -> None:
    checkpoint = import_checkpoint(file_format, weights, command="mixer store import")
    manifest, provenance = checkpoint.manifest, checkpoint.manifest.provenance
    assert manifest.architecture == TINY
    assert manifest.preprocessing == read(file_format, weights).preprocessing
    assert len(manifest.golden) == 4
    assert provenance.source == weights.name
    assert provenance.source_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert provenance.command == "mixer store import"
    assert {"jax", "flax", "numpy"} <= provenance.packages.keys()
    (tmp_path / "stored").write_bytes(checkpoint.files[PARAMETERS_FILE])
    for name, array in read_parameters(tmp_path / "stored").items():
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_what_no_file_tells_can_be_given(file_format: Format, weights: Path) -> None:
    manifest = import_checkpoint(
        file_format,
        weights,
        command="",
        gelu="erf",
        pipeline={"filter": "bilinear", "input_range": (0.0, 1.0)},
        labels=("ant", "bee", "cow", "dog", "eel", "fox"),
        dtype="bfloat16",
    ).manifest
    assert manifest.architecture.gelu == "erf"
    assert manifest.preprocessing.filter == "bilinear"
    assert manifest.preprocessing.input_range == (0.0, 1.0)
    assert manifest.labels[5] == "fox"
    assert manifest.dtype == "bfloat16"


def test_a_pipeline_that_makes_no_sense_is_refused(file_format: Format, weights: Path) -> None:
    with pytest.raises(WeightsRefused, match=r"^preprocessing: .*low < high$"):
        import_checkpoint(file_format, weights, command="", pipeline={"input_range": (1.0, 0.0)})


def test_labels_that_do_not_fit_are_refused(file_format: Format, weights: Path) -> None:
    with pytest.raises(InvalidManifest, match="1 labels for 6 classes"):
        import_checkpoint(file_format, weights, command="", labels=("ant",))


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_an_exported_file_is_read_again(
    file_format: Format, tmp_path: Path, dtype: type[np.generic]
) -> None:
    stored = {name: array.astype(dtype) for name, array in ARRAYS.items()}
    (tmp_path / PARAMETERS_FILE).write_bytes(safetensors.numpy.save(stored))
    export_parameters(file_format, tmp_path, tmp_path / "exported")
    for name, array in read(file_format, tmp_path / "exported").arrays.items():
        np.testing.assert_array_equal(array, stored[name].astype(np.float32))
