"""One request as its sender saw it."""

from dataclasses import dataclass
from enum import StrEnum


class Failure(StrEnum):
    """Why a request has no answer."""

    NO_CONNECTION = "no_connection"  # the generator's limit of connections was reached
    NOT_CONNECTED = "not_connected"
    CLOSED = "closed"
    MALFORMED = "malformed"
    UNANSWERED = "unanswered"  # the run ended before


@dataclass(slots=True)
class Sample:
    """Instants in seconds after the start of the run; an answer has a status, else a failure."""

    scheduled_s: float
    released_s: float = 0.0  # when the generator came to it
    sent_s: float = 0.0  # when a connection had it
    done_s: float = 0.0
    status: int = 0
    server_timing: bytes = b""
    failure: Failure | None = None

    @property
    def latency_s(self) -> float:
        """From the scheduled arrival: a late generator must not flatter the server."""
        return self.done_s - self.scheduled_s
