import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from model_store.errors import InvalidManifest
from model_store.manifest import PARAMETERS_FILE, Manifest, parse_manifest, record
from tests.model_store.versions import GOLDEN_FILE, version

MANIFEST = version().manifest


def parse_changed(*path: str | int, value: Any) -> Manifest:
    """Parse the manifest with the field at `path` changed, or removed if the value is `...`."""
    fields: Any = json.loads(MANIFEST.to_json())
    parent = fields
    for key in path[:-1]:
        parent = parent[key]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return parse_manifest(json.dumps(fields).encode(), name="m@1")


def test_a_manifest_survives_its_text() -> None:
    assert parse_manifest(MANIFEST.to_json(), name="m@1") == MANIFEST
    assert parse_manifest(MANIFEST.to_json(), name="m@1").to_json() == MANIFEST.to_json()


def test_floats_survive_exactly() -> None:
    exact = (0.1, 1 / 3, -1e-30, 5e30, 1.0, 2.0)
    golden = MANIFEST.golden[0].model_copy(update={"logits": exact})
    changed = MANIFEST.model_copy(update={"golden": (golden,)})
    assert parse_manifest(changed.to_json(), name="m@1").golden[0].logits == exact


def test_a_manifest_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        MANIFEST.dtype = "bfloat16"  # type: ignore[misc]


def test_labels_may_be_left_out() -> None:
    assert parse_changed("labels", value=[]).labels == ()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"\x80\x04]."])
def test_what_is_no_manifest_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(InvalidManifest, match=r"^manifest of m@1: the document: [^\n]+$"):
        parse_manifest(data, name="m@1")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema_version",), 2, "schema_version"),
        (("architecture",), ..., "architecture: Field required"),
        (("surprise",), 1, "surprise: Extra inputs"),
        (("architecture", "surprise"), 1, r"architecture\.surprise"),
        (("architecture", "image_size"), 13, "no multiple of patch_size"),
        (("labels",), ["ant", "bee"], "2 labels for 6 classes"),
        (("preprocessing", "crop_size"), 10, "crop_size 10 is not the network's image_size 12"),
        (("golden", 0, "logits"), [0.5], r"golden golden/0\.png has \(1, 5\)"),
        (("golden", 0, "embedding"), [0.5], r"golden golden/0\.png has \(6, 1\)"),
        (("golden", 0, "logits", 0), "NaN", "finite"),
        (("golden", 0, "file"), "golden/9.png", r"without size and digest: golden/9\.png"),
        (("files", PARAMETERS_FILE), ..., r"without size and digest: params\.safetensors"),
        (("files", PARAMETERS_FILE, "sha256"), "F" * 64, "sha256"),
        (("files", PARAMETERS_FILE, "sha256"), "0" * 63, "sha256"),
        (("files", PARAMETERS_FILE, "bytes"), -1, "bytes"),
        (("dtype",), "float16", "dtype"),
        (("provenance", "created_at"), "yesterday", r"provenance\.created_at"),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    path: tuple[str | int, ...], value: Any, message: str
) -> None:
    with pytest.raises(InvalidManifest, match=message):
        parse_changed(*path, value=value)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a\\b", ""])
def test_a_file_outside_the_version_is_refused(name: str) -> None:
    with pytest.raises(InvalidManifest, match="leave the version's folder"):
        parse_changed("files", name, value={"bytes": 0, "sha256": "0" * 64})


def test_a_record_is_the_size_and_sha256_of_a_file() -> None:
    found = record(b"some bytes")
    assert (found.bytes, found.sha256) == (10, hashlib.sha256(b"some bytes").hexdigest())
    assert record(b"some bytfs").sha256 != found.sha256


def test_the_golden_image_is_one_of_the_files() -> None:
    assert {golden.file for golden in MANIFEST.golden} == {GOLDEN_FILE} <= MANIFEST.files.keys()
