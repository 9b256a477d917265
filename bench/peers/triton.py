"""Triton through PyTriton: Triton's server and batcher, and this process behind it.

A file comes as Triton's raw binary request and is decoded where the batch is computed, in threads,
as in LitServe. What is not asked of Triton here is off: gRPC and metrics.

With NumPy 2 it starts, and fails at every request (docs/performance.md).
"""

import os
import sysconfig

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from bench.peers.model import (
    MAX_BATCH_IMAGES,
    MAX_WAIT_MS,
    TOP_K,
    Decoder,
    Engine,
    decoding_threads,
    top_classes,
)
from bench.peers.options import HOST, Options, read_options


def serve(options: Options) -> None:
    """Load the model, then serve until the process is told to end."""
    decoder, engine = Decoder(options.served), Engine(options.served)
    engine.warm_up()
    threads = decoding_threads()

    @batch
    def classify(file: np.ndarray) -> dict[str, np.ndarray]:
        images_BxHxWx3 = np.stack(list(threads.map(decoder, file[:, 0])))
        ids_BxK, scores_BxK = top_classes(engine.logits(images_BxHxWx3))
        return {"class_id": ids_BxK, "score": scores_BxK}

    config = TritonConfig(
        http_address=HOST, http_port=options.port, allow_grpc=False, allow_metrics=False
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="mixer",
            infer_func=classify,
            inputs=[Tensor(name="file", dtype=bytes, shape=(1,))],
            outputs=[
                Tensor(name="class_id", dtype=np.int32, shape=(TOP_K,)),
                Tensor(name="score", dtype=np.float32, shape=(TOP_K,)),
            ],
            config=ModelConfig(
                max_batch_size=MAX_BATCH_IMAGES,
                batcher=DynamicBatcher(max_queue_delay_microseconds=MAX_WAIT_MS * 1000),
            ),
        )
        triton.serve()


def find_this_python() -> None:
    """Let Triton's processes find this Python's library: the system's does not fit its modules."""
    os.environ["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")  # noqa: TID251  (set, not read)


if __name__ == "__main__":
    find_this_python()
    serve(read_options())
