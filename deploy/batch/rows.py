"""An image's outcome as a row: what the service would have answered, or its error."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from deploy.batch.job import Asked
from model_store.manifest import Manifest
from service.answers import top_k, unit_length
from service.errors import (
    BodyTooLarge,
    ImageTooLarge,
    ImageTruncated,
    ImageUndecodable,
    ServiceError,
    UnsupportedImage,
)
from service.pipeline import Outcome
from service.runner import Row

COLUMNS = {"classify": "predictions", "embed": "embedding"}


class ImageMissing(ServiceError):
    """The image was there when the job was begun, and is not any more."""

    status, code, title = HTTPStatus.NOT_FOUND, "image_missing", "Image missing"


# What is wrong with one image and stays so. Anything else is ours, and fails the part.
_IMAGES_OWN = (
    BodyTooLarge,
    ImageMissing,
    ImageTooLarge,
    ImageTruncated,
    ImageUndecodable,
    UnsupportedImage,
)


def row_of(path: str, outcome: Outcome, asked: Asked, manifest: Manifest) -> dict[str, Any]:
    """Return one row: path, model, version, the task's column or null, error code and detail.

    Raises:
        ServiceError: the outcome is an error that is not the image's own.
    """
    column = COLUMNS[asked.task]
    row: dict[str, Any] = {
        "path": path,
        "model": asked.model,
        "version": str(asked.version),
        column: None,
        "error_code": None,
        "error_detail": None,
    }
    if not isinstance(outcome, ServiceError):
        return {**row, column: _answer(outcome.answer.result, asked, manifest)}
    if not isinstance(outcome, _IMAGES_OWN):
        raise outcome
    return {**row, "error_code": outcome.code, "error_detail": outcome.detail}


def errors_in(rows: Sequence[Mapping[str, Any]]) -> int:
    """Return how many rows hold an error."""
    return sum(row["error_code"] is not None for row in rows)


def _answer(result: Row, asked: Asked, manifest: Manifest) -> object:
    if asked.task == "embed":
        return unit_length(result.embedding_C) if asked.normalize else result.embedding_C
    assert asked.top_k is not None
    return top_k(result.logits_N, manifest.labels, asked.top_k)
