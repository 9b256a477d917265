"""Every refusal that a client can meet, as one tree.

ServiceError
├── BadRequest            400 bad_request
├── ImageUndecodable      400 image_undecodable
├── ImageTruncated        400 image_truncated
├── Unauthenticated       401 unauthenticated       (with WWW-Authenticate)
├── Forbidden             403 forbidden
├── UrlNotAllowed         403 url_not_allowed
├── NoSuchPage            404 not_found
├── ModelNotFound         404 model_not_found
├── MethodNotAllowed      405 method_not_allowed    (with Allow, from the routes)
├── BodyTooLarge          413 body_too_large
├── ImageTooLarge         413 image_too_large
├── TooManyImages         413 too_many_images
├── UnsupportedImage      415 unsupported_image
├── InvalidParameter      422 invalid_parameter
├── Overloaded            429 overloaded            (with Retry-After)
├── InternalError         500 internal
├── NotReady              503 not_ready
├── Draining              503 draining
├── DeadlineUnreachable   503 deadline_unreachable
└── DeadlineExceeded      504 deadline_exceeded

An error raised anywhere below a route travels up to `app.create_app`'s handler, which writes it as
an RFC 9457 problem document; inside a request of several images it becomes that image's `error`.
"""

from http import HTTPStatus
from typing import ClassVar


class ServiceError(Exception):
    """A refusal with its HTTP status, its stable code, and a sentence for the client.

    `detail` is shown to clients: it names the thing and what is allowed, and never holds a path,
    a traceback or a library's message.
    """

    status: ClassVar[HTTPStatus]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the HTTP answer carries beside the problem document."""
        return {}


class BadRequest(ServiceError):
    """The body, its base64 or its multipart framing is malformed."""

    status, code, title = HTTPStatus.BAD_REQUEST, "bad_request", "Malformed request"


class ImageUndecodable(ServiceError):
    """The bytes claim an accepted format, and are not a decodable image of it."""

    status, code, title = HTTPStatus.BAD_REQUEST, "image_undecodable", "Undecodable image"


class ImageTruncated(ServiceError):
    """The image's bytes end before its pixels do."""

    status, code, title = HTTPStatus.BAD_REQUEST, "image_truncated", "Truncated image"


class Unauthenticated(ServiceError):
    """Keys are configured, and the request carries none."""

    status, code, title = HTTPStatus.UNAUTHORIZED, "unauthenticated", "Unauthenticated"

    @property
    def headers(self) -> dict[str, str]:
        """The scheme to authenticate by (RFC 9110 section 11.6.1)."""
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(ServiceError):
    """The request's key is not among those that are configured."""

    status, code, title = HTTPStatus.FORBIDDEN, "forbidden", "Forbidden"


class UrlNotAllowed(ServiceError):
    """Fetching this URL is not allowed: its host is not listed, or its address is internal."""

    status, code, title = HTTPStatus.FORBIDDEN, "url_not_allowed", "URL not allowed"


class NoSuchPage(ServiceError):
    """No endpoint at this path."""

    status, code, title = HTTPStatus.NOT_FOUND, "not_found", "Not found"


class ModelNotFound(ServiceError):
    """No loaded model answers to that reference."""

    status, code, title = HTTPStatus.NOT_FOUND, "model_not_found", "Model not found"


class MethodNotAllowed(ServiceError):
    """The endpoint does not take this method."""

    status, code, title = HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed"


class BodyTooLarge(ServiceError):
    """The request body exceeds `MIXER_MAX_BODY_BYTES`."""

    status, code, title = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large", "Body too large"


class ImageTooLarge(ServiceError):
    """The image's header announces more than `MIXER_MAX_IMAGE_PIXELS` pixels."""

    status, code, title = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "image_too_large", "Image too large"


class TooManyImages(ServiceError):
    """The request holds more than `MIXER_MAX_IMAGES` images."""

    status, code, title = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_many_images", "Too many images"


class UnsupportedImage(ServiceError):
    """A recognised but refused image format, or bytes of no image format at all."""

    status, code, title = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_image", "Not supported"


class InvalidParameter(ServiceError):
    """A query parameter or header has a value that is not allowed."""

    status, code, title = HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_parameter", "Invalid parameter"


class Overloaded(ServiceError):
    """Admission refused: the queue is full. `retry_after_s` is when it will have drained."""

    status, code, title = HTTPStatus.TOO_MANY_REQUESTS, "overloaded", "Overloaded"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After` in whole seconds (RFC 9110 section 10.2.3)."""
        return {"Retry-After": str(self.retry_after_s)}


class InternalError(ServiceError):
    """A bug: its traceback is logged under the request id, and the client learns no more."""

    status, code, title = HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "Internal error"


class NotReady(ServiceError):
    """The named model is still loading, or was refused by its start-up checks."""

    status, code, title = HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", "Not ready"


class Draining(ServiceError):
    """The server is shutting down and takes no new work."""

    status, code, title = HTTPStatus.SERVICE_UNAVAILABLE, "draining", "Draining"


class DeadlineUnreachable(ServiceError):
    """The measured backlog cannot be done before the caller's deadline; nothing was computed."""

    status, code, title = (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "deadline_unreachable",
        "Deadline unreachable",
    )


class DeadlineExceeded(ServiceError):
    """The caller's deadline passed while the work waited or ran."""

    status, code, title = HTTPStatus.GATEWAY_TIMEOUT, "deadline_exceeded", "Deadline exceeded"
