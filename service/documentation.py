"""What the OpenAPI page says beyond the signatures: forms of images, headers, errors, examples."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from service import errors
from service.answers import JSON, NPY, PROBLEM, RAW
from service.errors import ServiceError
from service.parameters import MAX_TIMEOUT_MS, TIMEOUT_HEADER
from service.schemas import (
    Classification,
    Classifications,
    EmbeddingAnswer,
    EmbeddingAnswers,
    Health,
)

Responses = dict[int | str, dict[str, Any]]

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}
_REQUEST_ID = "84ec00e55b2a46cf957065ce12c31539"


def problems(kinds: Iterable[type[ServiceError]]) -> Responses:
    """Return the documentation of these errors: each status with the codes that it can have."""
    documented: Responses = {}
    for kind in kinds:
        entry = documented.setdefault(
            int(kind.status),
            {"description": "", "content": {PROBLEM: {"schema": _PROBLEM_SCHEMA, "examples": {}}}},
        )
        entry["description"] += f"`{kind.code}`: {kind.title}. "
        entry["content"][PROBLEM]["examples"][kind.code] = {"value": _example(kind)}
    return documented


def _example(kind: type[ServiceError]) -> dict[str, object]:
    return {
        "type": f"urn:mixer:problem:{kind.code}",
        "title": kind.title,
        "status": int(kind.status),
        "detail": f"{kind.title}: what is wrong here, and what is allowed.",
        "code": kind.code,
        "request_id": _REQUEST_ID,
    }


ANY_PROBLEM: Responses = {
    "default": {
        "description": "Any other error (such as `not_found`, `method_not_allowed`, `internal`).",
        "content": {PROBLEM: {"schema": _PROBLEM_SCHEMA}},
    }
}

KEY_PROBLEMS = (errors.Unauthenticated, errors.Forbidden)  # where keys are configured
_INFERENCE_PROBLEMS = problems(
    (
        errors.BadRequest,
        errors.ImageUndecodable,
        errors.ImageTruncated,
        *KEY_PROBLEMS,
        errors.UrlNotAllowed,
        errors.ModelNotFound,
        errors.BodyTooLarge,
        errors.ImageTooLarge,
        errors.TooManyImages,
        errors.UnsupportedImage,
        errors.InvalidParameter,
        errors.Overloaded,
        errors.InternalError,
        errors.NotReady,
        errors.Draining,
        errors.DeadlineUnreachable,
        errors.DeadlineExceeded,
    )
)
_INFERENCE_PROBLEMS[429]["headers"] = {
    "Retry-After": {
        "description": "Seconds until the measured backlog will have drained.",
        "schema": {"type": "integer", "minimum": 1},
    }
}
_ETAG = {
    "ETag": {
        "description": "Of the images, the model version and the encoding.",
        "schema": {"type": "string"},
    }
}
_TIMING = {
    "X-Request-ID": {"description": "The request's id.", "schema": {"type": "string"}},
    "Server-Timing": {
        "description": "Milliseconds of decode, queue, device and total; the batch as n/bucket.",
        "schema": {"type": "string"},
    },
}
_FAILED = {
    "error": {"status": 400, "code": "image_truncated", "detail": "The image ends too early."}
}
_IDENTITY = {"model": "cifar10-mixer", "version": "2"}
_PREDICTIONS = {"predictions": [{"class_id": 3, "label": "cat", "score": 0.9312}]}
_EMBEDDING = {"embedding": [0.0625, -1.5]}


def _examples(one: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    several = _IDENTITY | {"results": [result, _FAILED]}
    return {"examples": {"one image": {"value": one}, "several images": {"value": several}}}


CLASSIFY: Responses = {
    200: {
        "description": "The most probable classes, or `results` in the order of the images.",
        "model": Classification | Classifications,
        "headers": _TIMING,
        "content": {JSON: _examples(_IDENTITY | _PREDICTIONS, _PREDICTIONS)},
    },
    **_INFERENCE_PROBLEMS,
}
EMBED: Responses = {
    200: {
        "description": "The feature, or `results` in the order of the images; as `.npy` or raw "
        "float32 a row for each image.",
        "model": EmbeddingAnswer | EmbeddingAnswers,
        "headers": _TIMING | _ETAG,
        "content": {
            JSON: _examples(_IDENTITY | {"dim": 2} | _EMBEDDING, _EMBEDDING),
            NPY: _BINARY,
            RAW: _BINARY,
        },
    },
    304: {
        "description": "The embedding that the caller has (If-None-Match) is still right.",
        "headers": _ETAG,
    },
    **_INFERENCE_PROBLEMS,
}
LISTING = problems(KEY_PROBLEMS)
NO_SUCH_MODEL = problems((*KEY_PROBLEMS, errors.ModelNotFound))
RELOAD = problems((errors.Draining,))
METRICS: Responses = {
    200: {
        "description": "Prometheus text, or OpenMetrics.",
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "application/openmetrics-text": {"schema": {"type": "string"}},
        },
    }
}


def check(failure: str) -> Responses:
    """Return the documentation of a probe that can fail."""
    return {200: {"model": Health}, 503: {"model": Health, "description": failure}}


def inference(query: type[BaseModel], *headers: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of an operation that takes images: query, headers and body."""
    schemas = query.model_json_schema()["properties"]
    parameters = [_parameter(name, "query", **schema) for name, schema in schemas.items()]
    parameters += [_parameter(where="header", **each) for each in (TIMEOUT, *headers)]
    return {"requestBody": _IMAGE_BODY, "parameters": parameters}


def _parameter(name: str, where: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": False,
        "description": description,
        "schema": schema | {"description": description, "title": schema.get("title", name)},
    }


TIMEOUT = {
    "name": TIMEOUT_HEADER,
    "description": "The caller's deadline; work that cannot finish by then is not begun.",
    "type": "integer",
    "minimum": 1,
    "maximum": MAX_TIMEOUT_MS,
}
REQUEST_ID = {
    "name": "X-Request-ID",
    "description": "Echoed where it is 1 to 128 printable characters, else replaced by a new one.",
    "type": "string",
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "description": "Entity tags that the caller has: where one still holds, the answer is 304.",
    "type": "string",
}

_IMAGE_BODY: dict[str, Any] = {
    "description": "An image file (JPEG, PNG, WebP, GIF or BMP) as it is, one or more form "
    "files named `image`, or base64 in JSON.",
    "content": {
        "image/jpeg": _BINARY,
        "image/*": _BINARY,
        "application/octet-stream": _BINARY,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"image": {"type": "array", "items": _BINARY["schema"]}},
                "required": ["image"],
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "image": {"type": "string", "description": "base64 or data: URI"},
                    "images": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                },
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
            },
            "example": {"image": "iVBORw0KGgo…"},
        },
    },
}
