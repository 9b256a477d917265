"""Plain FastAPI without batching: what one writes first.

Requests are handled in Starlette's threads, as every `def` endpoint is; the engine takes one at a
time.
"""

from threading import Lock
from typing import Annotated

import uvicorn
from fastapi import Body, FastAPI

from bench.peers.model import Answer, Decoder, Engine, answers
from bench.peers.options import HOST, Served, read_options


def create_app(served: Served) -> FastAPI:
    """Return the application, its model loaded and warm."""
    decoder, engine = Decoder(served), Engine(served)
    engine.warm_up(1)
    lock = Lock()
    app = FastAPI()

    @app.post("/classify")
    def classify(file: Annotated[bytes, Body(media_type="application/octet-stream")]) -> Answer:
        pixels_HxWx3 = decoder(file)
        with lock:
            logits_1xN = engine.logits(pixels_HxWx3[None])
        return answers(logits_1xN)[0]

    return app


if __name__ == "__main__":
    options = read_options()
    uvicorn.run(create_app(options.served), host=HOST, port=options.port)
