"""Which peers there are, how each is started, and how it is asked."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from bench.peers.options import Served
from loadtest.target import Target

Encoded = tuple[Mapping[str, str], bytes]  # headers and body
Command = list[str]


@dataclass(frozen=True)
class Peer:
    """A server of others around one network, in a module of its own.

    `package` is what it needs; `path` takes POST; `encode` makes headers and body of a JPEG file.
    """

    name: str
    module: str
    package: str
    path: str
    encode: Callable[[bytes], Encoded]

    def available(self) -> bool:
        """Say whether this Python has the package."""
        return find_spec(self.package) is not None

    def command(self, port: int, served: Served) -> Command:
        """Return the command line that serves a version on a port of this machine."""
        return [sys.executable, "-m", self.module, f"--port={port}", *served.flags()]

    def request(self, target: Target, file: bytes) -> bytes:
        """Return the whole HTTP request that classifies a JPEG file."""
        headers, body = self.encode(file)
        return target.request(body, headers, path=self.path)


def raw(file: bytes) -> Encoded:
    """Send a file as it is."""
    return {"Content-Type": "application/octet-stream"}, file


def triton_raw(file: bytes) -> Encoded:
    """Send a file as it is, as Triton's raw binary request: without a JSON header before it."""
    return {"Inference-Header-Content-Length": "0"}, file


PEERS = (
    Peer("FastAPI, no batches", "bench.peers.fastapi", "fastapi", "/classify", raw),
    Peer("LitServe", "bench.peers.litserve", "litserve", "/classify", raw),
    Peer("mosec", "bench.peers.mosec", "mosec", "/classify", raw),
    Peer(
        "Triton (PyTriton)",
        "bench.peers.triton",
        "pytriton",
        "/v2/models/mixer/infer",
        triton_raw,
    ),
    Peer("BentoML", "bench.peers.bentoml", "bentoml", "/classify", raw),
)


def class_ids(answer: bytes) -> list[int]:
    """Return the class ids of an answer, best first, be it the service's, a peer's or Triton's.

    Raises:
        ValueError: it is neither.
    """
    found = json.loads(answer)
    try:
        if "predictions" in found:
            return [prediction["class_id"] for prediction in found["predictions"]]
        return next(o["data"] for o in found["outputs"] if o["name"] == "class_id")
    except (KeyError, TypeError, StopIteration) as error:
        raise ValueError(f"no classification: {answer[:200]!r}") from error
