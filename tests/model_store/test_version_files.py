"""The files of a version: each read once, and compared as it was read."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from model_store.errors import Corrupt, NotFound
from model_store.manifest import PARAMETERS_FILE
from model_store.store import ModelStore, VersionRef
from tests.model_store.versions import GOLDEN_FILE, version

ARRAYS = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.full(5, 0.5, np.float32)}


@pytest.fixture
def local(tmp_path: Path) -> ModelStore:
    return ModelStore(str(tmp_path))


@pytest.fixture
def ref(local: ModelStore) -> VersionRef:
    return local.publish("m", version(save(ARRAYS)))


def test_parameters_are_those_of_the_file(local: ModelStore, ref: VersionRef) -> None:
    found = local.read(ref).parameters()
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def test_what_is_compared_is_what_was_read(local: ModelStore, ref: VersionRef) -> None:
    """Whatever becomes of the file in between."""
    path = Path(local.root, ref.folder, GOLDEN_FILE)
    content = path.read_bytes()
    path.write_bytes(b"x" * len(content))
    changed = local.read(ref)
    path.write_bytes(content)
    whole = local.read(ref)
    path.write_bytes(b"x" * len(content))
    whole.check()
    assert bytes(whole[GOLDEN_FILE]) == content
    for _ in range(2):  # it is told as often as one asks
        with pytest.raises(Corrupt, match=f"^{ref} in .*: the content of {GOLDEN_FILE} is not"):
            changed.check()


def test_files_that_are_missing_or_strange_are_all_named(
    local: ModelStore, ref: VersionRef
) -> None:
    folder = Path(local.root, ref.folder)
    (folder / PARAMETERS_FILE).unlink()
    (folder / "readme").write_bytes(b"more")
    files = local.read(ref)
    with pytest.raises(NotFound, match=rf"^m@1 in .* has no file {PARAMETERS_FILE}$"):
        files.parameters()
    with pytest.raises(Corrupt, match=f"readme is no file of this version; {PARAMETERS_FILE} is"):
        files.check()


def test_a_changed_manifest_is_not_read(local: ModelStore, ref: VersionRef) -> None:
    path = Path(local.root, ref.folder, "manifest.json")
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(Corrupt, match=r"manifest.json is not the one that was published"):
        local.read(ref)
