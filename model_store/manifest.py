"""The frozen schema of a published version: what `manifest.json` says."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from model_store.errors import InvalidManifest
from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig

PARAMETERS_FILE = "params.safetensors"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileRecord(_Frozen):
    """Size and digest that a file of the version must have."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class GoldenImage(_Frozen):
    """An encoded image of the version, and the logits that its maker computed for it."""

    file: str
    logits: tuple[float, ...]
    embedding: tuple[float, ...]


class Provenance(_Frozen):
    """Where the weights come from: enough to make them again, or to find their maker."""

    created_at: datetime
    source: str = Field(description="who made them: the trainer, or the imported file's name")
    source_sha256: str | None = None
    command: str = Field(description="the command line that made this version")
    code_revision: str | None = Field(default=None, description="git commit of the code")
    packages: dict[str, str] = Field(default_factory=dict, description="package versions")


class TrainingSummary(_Frozen):
    """How the weights were trained, and what was measured on them."""

    dataset: str
    dataset_sha256: str
    seed: int
    epochs: float
    steps: int
    wall_time_s: float
    machine: str
    metrics: dict[str, float] = Field(description="name of the measure -> value, such as accuracy")
    config: dict[str, JsonValue] = Field(description="every setting of the run")


class Manifest(_Frozen):
    """One published version of one model.

    `labels` is empty or names each class in the order of the logits. `files` lists every other
    file of the version, so that nothing can be added or changed unnoticed.
    """

    schema_version: Literal[1] = 1
    architecture: MixerConfig
    preprocessing: Preprocessing
    labels: tuple[str, ...]
    dtype: Literal["float32", "bfloat16"]
    provenance: Provenance
    training: TrainingSummary | None = None
    golden: tuple[GoldenImage, ...]
    files: dict[str, FileRecord]

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        classes = self.architecture.num_classes
        if self.labels and len(self.labels) != classes:
            msg = f"{len(self.labels)} labels for {classes} classes"
            raise ValueError(msg)
        if self.preprocessing.crop_size != self.architecture.image_size:
            msg = (
                f"crop_size {self.preprocessing.crop_size} is not the network's "
                f"image_size {self.architecture.image_size}"
            )
            raise ValueError(msg)
        for golden in self.golden:
            sizes = (len(golden.logits), len(golden.embedding))
            if sizes != (classes, self.architecture.width):
                msg = f"golden {golden.file} has {sizes} logits and features"
                raise ValueError(msg)
        missing = {PARAMETERS_FILE, *(golden.file for golden in self.golden)} - self.files.keys()
        if missing:
            msg = f"files without size and digest: {', '.join(sorted(missing))}"
            raise ValueError(msg)
        unsafe = [name for name in self.files if not _stays_inside(name)]
        if unsafe:
            msg = f"file names that leave the version's folder: {', '.join(unsafe)}"
            raise ValueError(msg)
        return self

    def to_json(self) -> bytes:
        """Return the text of `manifest.json`."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def parse_manifest(data: bytes, *, name: str) -> Manifest:
    """Read a manifest; `name` says in errors which one.

    Raises:
        InvalidManifest: not JSON, an unknown schema version, or fields that do not fit.
    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        msg = f"manifest of {name}: {where}: {first['msg']}"
        raise InvalidManifest(msg) from error


def record(data: bytes) -> FileRecord:
    """Return the size and digest of a file's content."""
    return FileRecord(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def _stays_inside(name: str) -> bool:
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name and bool(name)
