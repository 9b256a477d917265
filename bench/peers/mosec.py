"""mosec: a server in Rust before two stages of Python processes, decoding and network.

After its documentation: decoding in as many processes as there are cores, dynamic batching in the
second stage, whose clock starts at the first item.
"""

import os
from typing import cast

import mosec
import numpy as np

from bench.peers.model import MAX_BATCH_IMAGES, MAX_WAIT_MS, Answer, Decoder, Engine, answers
from bench.peers.options import read_options


class Decode(mosec.Worker):
    """The first stage: a file becomes pixels, which are pickled for the second."""

    def __init__(self) -> None:
        self._decoder = Decoder(read_options().served)

    def deserialize(self, data: bytes) -> bytes:
        """Take the body as it is."""
        return data

    def forward(self, data: bytes) -> np.ndarray:
        """Return the pixels uint8 [H, W, 3] of a file."""
        return self._decoder(data)


class Classify(mosec.Worker):
    """The second stage: a batch of pixels becomes answers, which mosec writes as JSON."""

    def __init__(self) -> None:
        self._engine = Engine(read_options().served)
        self._engine.warm_up()

    def forward(self, data: list[np.ndarray]) -> list[Answer]:
        """Return an answer for each of the pixels uint8 [H, W, 3]."""
        return answers(self._engine.logits(np.stack(data)))


if __name__ == "__main__":
    read_options()  # says what is wrong with them before any process starts; mosec takes --port
    server = mosec.Server()
    server.append_worker(Decode, num=cast("int", os.cpu_count()), route="/classify")
    server.append_worker(
        Classify, max_batch_size=MAX_BATCH_IMAGES, max_wait_time=MAX_WAIT_MS, route="/classify"
    )
    server.run()
