"""Results of finished trainings, one JSON file each, named by the digest of its settings."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError

from trainer.config import arithmetic_settings
from trainer.environment import Environment
from trainer.files import write_atomically
from trainer.studies.training import Result, Training


@dataclass(frozen=True)
class Record:
    """A finished training: its settings, where it was done, and what was measured."""

    settings: dict[str, JsonValue]
    environment: Environment
    result: Result


class Cache:
    """The records of a folder, which is made with the first of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, settings: Mapping[str, JsonValue]) -> Record | None:
        """Return the record of these settings; None where there is none.

        Raises:
            ValueError: its file is not what a study writes.
        """
        file = self._file(settings)
        if not file.exists():
            return None
        try:
            return _RECORD.validate_json(file.read_bytes())
        except ValidationError as error:
            msg = f"{file}: not what a study writes; without it the training is done again"
            raise ValueError(msg) from error

    def add(self, record: Record) -> None:
        """Write a record, whole or not at all."""
        self._folder.mkdir(parents=True, exist_ok=True)
        values = _RECORD.dump_python(record, mode="json")
        write_atomically(self._file(record.settings), json.dumps(values, indent=1) + "\n")

    def _file(self, settings: Mapping[str, JsonValue]) -> Path:
        return self._folder / f"{settings_digest(settings)}.json"


def settings_digest(settings: Mapping[str, JsonValue]) -> str:
    """Return the first 16 digits of the SHA-256 of settings, whatever their order."""
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def training_settings(training: Training, data_digests: Mapping[str, str]) -> dict[str, JsonValue]:
    """Return all that decides a result, up to rounding and the machine's speed.

    Args:
        training: what is trained.
        data_digests: digest of the whole train and test split.
    """
    shared = arithmetic_settings(training.config)
    shared["preprocessing"] = training.config.preprocessing.model_dump(mode="json")
    # Of the model, a study takes the image size and the classes, which every network has too.
    del shared["model"]
    return {
        **shared,
        "network": dict(training.candidate.settings),
        "images": training.images,
        "evaluated_images": training.evaluated_images,
        "curve_points": training.curve_points,
        "data": dict(data_digests),
    }


_RECORD = TypeAdapter(Record)
