"""LitServe: one worker process, which gathers a batch, decodes it in threads and computes it.

After its documentation: `fast_queue` (ZeroMQ) for hundreds of requests per second, and decoding in
`batch` with a thread pool, for `decode_request` runs for one request after the other.
"""

from typing import Annotated

import litserve
import numpy as np
from fastapi import Body

from bench.peers.model import (
    MAX_BATCH_IMAGES,
    MAX_WAIT_MS,
    Answer,
    Decoder,
    Engine,
    answers,
    decoding_threads,
)
from bench.peers.options import HOST, Served, read_options


class Classifier(litserve.LitAPI):
    """The steps of a batch, in the worker's process."""

    def __init__(self, served: Served) -> None:
        super().__init__(
            max_batch_size=MAX_BATCH_IMAGES,
            batch_timeout=MAX_WAIT_MS / 1e3,
            api_path="/classify",
        )
        self._served = served

    def setup(self, device: str) -> None:  # noqa: ARG002  (LitServe's signature)
        """Load the model in the worker."""
        self._decoder = Decoder(self._served)
        self._engine = Engine(self._served)
        self._engine.warm_up()
        self._threads = decoding_threads()

    def decode_request(
        self, request: Annotated[bytes, Body(media_type="application/octet-stream")]
    ) -> bytes:
        """Leave the file as it is; its type tells LitServe to take the body so."""
        return request

    def batch(self, inputs: list[bytes]) -> np.ndarray:
        """Return the pixels uint8 [B, H, W, 3] of files."""
        return np.stack(list(self._threads.map(self._decoder, inputs)))

    def predict(self, x: np.ndarray) -> list[Answer]:
        """Return an answer for each of the pixels uint8 [B, H, W, 3]."""
        return answers(self._engine.logits(x))

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        """Leave the answers as they are: one for each request."""
        return output

    def encode_response(self, output: Answer) -> Answer:
        """Leave the answer as it is, for LitServe to write as JSON."""
        return output


if __name__ == "__main__":
    options = read_options()
    server = litserve.LitServer(Classifier(options.served), accelerator="cpu", fast_queue=True)
    server.run(host=HOST, port=options.port, generate_client_file=False)
