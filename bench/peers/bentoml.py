"""BentoML: an API service that decodes, and the network as a service of its own that batches.

After its documentation of adaptive batching: a batchable API takes arrays, which the first service
sends it over a Unix socket. Its only bound is a latency, here its default of a minute.
"""

import asyncio
import os
from pathlib import Path

import bentoml
import numpy as np
from PIL.Image import Image
from pydantic import BaseModel

from bench.peers.model import (
    MAX_BATCH_IMAGES,
    Answer,
    Decoder,
    Engine,
    answers,
    decoding_threads,
)
from bench.peers.options import HOST, Parts, Served, read_options
from service.runtimes.program import Precision


class Arguments(BaseModel):
    """What BentoML passes on to the processes of its services."""

    version_dir: Path = Path()
    precision: Precision = "float32"
    parts: Parts = "ours"


arguments = bentoml.use_arguments(Arguments)
served = Served(arguments.version_dir, arguments.precision, arguments.parts)


@bentoml.service
class Network:
    """Computes batches."""

    def __init__(self) -> None:
        self._engine = Engine(served)
        self._engine.warm_up()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH_IMAGES)
    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return logits float32 [B, N] of pixels uint8 [B, H, W, 3]."""
        return self._engine.logits(images)


@bentoml.service
class Api:
    """Takes JPEG files and decodes them in threads."""

    network = bentoml.depends(Network)

    def __init__(self) -> None:
        self._decoder = Decoder(served)
        self._threads = decoding_threads()

    @bentoml.api(route="/classify")
    async def classify(self, image: Image, /) -> Answer:
        """Return the answer for the picture that is the whole body."""
        loop = asyncio.get_running_loop()
        pixels_HxWx3 = await loop.run_in_executor(self._threads, self._decoder.resized, image)
        return answers(await self.network.to_async.logits(pixels_HxWx3[None]))[0]


if __name__ == "__main__":
    options = read_options()
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"  # noqa: TID251  (set, not read)
    bentoml.serve(
        "bench.peers.bentoml:Api",
        host=HOST,
        port=options.port,
        args={
            "version_dir": str(options.served.version_dir),
            "precision": options.served.precision,
            "parts": options.served.parts,
        },
        blocking=True,
    )
