"""What a front end and the engine say to each other, and how it looks on their socket.

Front end → engine: Admit, Submit, Cancel, Release, LetGo, Observe, Draining, Expose
Engine → front end: State, Admitted, Answered, Exposed, Refused

A call has a number, chosen by the front end and never used again on the connection; one of the last
four answers it. A message is one line of JSON: its kind and its fields. Seconds and deadlines are
those of the monotonic clock, which all processes of a machine share.
"""

from dataclasses import dataclass
from typing import Any, get_args

import orjson

from service.errors import Overloaded, ServiceError


@dataclass(frozen=True, slots=True)
class Admit:
    """Hold places for images of a model."""

    call: int
    model: int
    images: int
    deadline: float
    preparation_s: float


@dataclass(frozen=True, slots=True)
class Submit:
    """Compute the image at `offset` in the arena, under a permit: the call that was admitted."""

    call: int
    permit: int
    offset: int
    deadline: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody waits for this submitted image any more; it is answered still."""

    call: int


@dataclass(frozen=True, slots=True)
class Release:
    """The request that this permit was for is answered."""

    permit: int


@dataclass(frozen=True, slots=True)
class LetGo:
    """No request uses this model any more, which has left the state."""

    model: int


@dataclass(frozen=True, slots=True)
class Observe:
    """Count: each the name of a metric, its labels, and the seconds to observe (or 1)."""

    observations: list[tuple[str, dict[str, str], float]]


@dataclass(frozen=True, slots=True)
class Draining:
    """The front end takes no new connections any more."""


@dataclass(frozen=True, slots=True)
class Expose:
    """Send all metrics as text, in the format of an Accept header."""

    call: int
    accept: str


@dataclass(frozen=True, slots=True)
class State:
    """What is served, and how the engine is; sent at first and after every change."""

    served: list[dict[str, Any]]  # `key` and `summary` of each; its name and, once, its manifest
    missing: dict[str, str]
    stale: dict[str, str]
    illness: dict[str, str]  # why it is not live
    started: bool


@dataclass(frozen=True, slots=True)
class Admitted:
    """The places are held."""

    call: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The image's answer lies where the image lay: its logits, then its embedding, as float32."""

    call: int
    queue_s: float
    device_s: float
    batch_images: int
    bucket: int


@dataclass(frozen=True, slots=True)
class Exposed:
    """The metrics as text."""

    call: int
    text: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The call ended with an error for the client."""

    call: int
    code: str
    detail: str
    retry_after_s: int | None

    @classmethod
    def of(cls, call: int, error: ServiceError) -> "Refused":
        """Return the message of an error."""
        return cls(call, error.code, error.detail, getattr(error, "retry_after_s", None))

    def error(self) -> ServiceError:
        """Return the error of the message."""
        if self.retry_after_s is not None:
            return Overloaded(self.detail, retry_after_s=self.retry_after_s)
        return _ERRORS[self.code](self.detail)


FromFrontend = Admit | Submit | Cancel | Release | LetGo | Observe | Draining | Expose
FromEngine = State | Admitted | Answered | Exposed | Refused
Message = FromFrontend | FromEngine

_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}
_ERRORS = {kind.code: kind for kind in ServiceError.__subclasses__()}


def encode(message: Message) -> bytes:
    """Return the line of a message."""
    return orjson.dumps((type(message).__name__, message), option=orjson.OPT_APPEND_NEWLINE)


def decode(line: bytes) -> Message:
    """Return the message of a line."""
    kind, fields = orjson.loads(line)
    return _KINDS[kind](**fields)
