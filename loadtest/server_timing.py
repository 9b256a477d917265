"""The `Server-Timing` header of the service: milliseconds of each stage, and the batch."""

import re
from dataclasses import dataclass

_DURATION = re.compile(r"([a-z_]+);dur=(\d+(?:\.\d+)?)")
_BATCH = re.compile(r'batch;desc="(\d+)/(\d+)"')


@dataclass(frozen=True, slots=True)
class ServerTiming:
    """Where the server says that its time went; `batch_images` is None if nothing was computed."""

    stages_ms: dict[str, float]
    batch_images: int | None
    bucket: int | None


def parse_server_timing(header: str) -> ServerTiming:
    """Read the header's value; what is absent or unknown is left out."""
    stages_ms = {name: float(duration) for name, duration in _DURATION.findall(header)}
    batch = _BATCH.search(header)
    if batch is None:
        return ServerTiming(stages_ms, None, None)
    return ServerTiming(stages_ms, int(batch[1]), int(batch[2]))
