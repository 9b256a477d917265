"""Outcomes of images as HTTP answers: predictions, embeddings in three encodings, error entries."""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from starlette.responses import Response

from service.directory import Model
from service.errors import ServiceError
from service.pipeline import Computed, Outcome

NPY = "application/x-npy"
RAW = "application/octet-stream"
JSON = "application/json"
PROBLEM = "application/problem+json"

FEW = 16  # so many classes are found one by one, before all of a thousand are sorted


def json_response(
    content: object,
    status: int = 200,
    media_type: str = JSON,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Write JSON; float32 arrays become their shortest exact decimals."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status_code=status, headers=headers, media_type=media_type)


def top_k(logits_N: np.ndarray, labels: Sequence[str], k: int) -> list[dict[str, object]]:
    """Return the k most probable classes by softmax, highest first, ties in class order."""
    shifted_N = np.exp(logits_N - logits_N[logits_N.argmax()])
    total = np.add.reduce(shifted_N)
    return [
        {"class_id": i, "label": labels[i] if labels else str(i), "score": share / total}
        for i, share in _highest(shifted_N, k)
    ]


def _highest(shifted_N: np.ndarray, k: int) -> Iterator[tuple[int, np.floating]]:
    """Yield the k highest values, none below 0, with their classes; ties in class order.

    The array is used up.
    """
    if k > FEW:
        for i in np.argsort(-shifted_N, kind="stable")[:k]:
            yield int(i), shifted_N[i]
        return
    for _ in range(k):
        i = int(shifted_N.argmax())
        yield i, shifted_N[i]
        shifted_N[i] = -1


def unit_length(feature_C: np.ndarray) -> np.ndarray:
    """Return the feature divided by its Euclidean length; of length 0 as it is."""
    return feature_C / max(float(np.linalg.norm(feature_C)), 1e-12)


def classification(model: Model, outcomes: Sequence[Outcome], k: int, *, many: bool) -> Response:
    """Answer /classify.

    Raises:
        ServiceError: the only image of a single request has no answer.
    """
    labels = model.manifest.labels

    def body(computed: Computed) -> dict[str, object]:
        return {"predictions": top_k(computed.answer.result.logits_N, labels, k)}

    return json_response(_identity(model) | _bodies(outcomes, body, many=many))


def embedding(
    model: Model, outcomes: Sequence[Outcome], media_type: str, *, normalize: bool, many: bool
) -> Response:
    """Answer /embed as JSON, `.npy` of shape [n, dim], or raw little-endian float32.

    Raises:
        ServiceError: the only image has no answer; or any image, where the encoding is not JSON
            and has no place for an error.
    """

    def vector(computed: Computed) -> np.ndarray:
        feature_C = computed.answer.result.embedding_C
        return unit_length(feature_C) if normalize else feature_C

    if media_type == JSON:
        bodies = _bodies(outcomes, lambda done: {"embedding": vector(done)}, many=many)
        dim = {} if many else {"dim": model.manifest.architecture.width}
        return json_response(_identity(model) | dim | bodies)
    rows_NxC = np.stack([vector(_computed(outcome)) for outcome in outcomes]).astype("<f4")
    body = _npy(rows_NxC) if media_type == NPY else rows_NxC.tobytes()
    return Response(body, media_type=media_type)


def error_entry(error: ServiceError) -> dict[str, object]:
    """Return what `results` holds for an image without an answer."""
    return {"error": {"status": int(error.status), "code": error.code, "detail": error.detail}}


def problem(
    error: ServiceError, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the RFC 9457 problem document of an error, with these headers and its own."""
    content = {
        "type": f"urn:mixer:problem:{error.code}",
        "title": error.title,
        "status": int(error.status),
        "detail": error.detail,
        "code": error.code,
        "request_id": request_id,
    }
    return json_response(content, int(error.status), PROBLEM, {**(headers or {}), **error.headers})


def _identity(model: Model) -> dict[str, object]:
    return {"model": model.version.model, "version": str(model.version.version)}


def _bodies(outcomes: Sequence[Outcome], body: Any, *, many: bool) -> dict[str, object]:
    if not many:
        single: dict[str, object] = body(_computed(outcomes[0]))
        return single
    return {
        "results": [
            error_entry(outcome) if isinstance(outcome, ServiceError) else body(outcome)
            for outcome in outcomes
        ]
    }


def _computed(outcome: Outcome) -> Computed:
    if isinstance(outcome, ServiceError):
        raise outcome
    return outcome


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
