"""How one serves a flax network on a CPU without this project: as OpenVINO converts it."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx

from bench.repetition import seconds_of
from model_store.layers import Execution
from model_store.mixer import load_state
from model_store.preprocess import Preprocessing, normalise
from model_store.variants import MixerConfig
from service.runtimes.openvino import PRECISION_HINTS
from service.runtimes.openvino_import import import_openvino
from service.runtimes.program import Precision

BATCHES = (1, 2, 4, 8, 16, 32)
TRIES = 5  # of each batch size, of which the fastest counts


class OrdinaryProgram:
    """A graph for each batch size by OpenVINO's JAX front end; smaller batches are padded.

    One caller at a time. Takes pixels uint8 [B, H, W, 3], B up to the largest of `batches`. It has
    no int8: that computes in float32.
    """

    def __init__(
        self,
        config: MixerConfig,
        preprocessing: Preprocessing,
        arrays: Mapping[str, np.ndarray],
        *,
        precision: Precision,
        batches: tuple[int, ...] = BATCHES,
    ) -> None:
        self._image_size = config.image_size
        openvino = import_openvino()
        from openvino.tools.ovc import convert_model  # noqa: PLC0415  (after the silent import)

        graph, params = load_state(config, arrays, Execution())

        def forward(images_BxHxWx3: jax.Array) -> jax.Array:
            logits_BxN, _ = nnx.merge(graph, params)(normalise(images_BxHxWx3, preprocessing))
            return logits_BxN

        hint = PRECISION_HINTS[precision]
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
        self._requests: dict[int, Any] = {}
        for batch in batches:
            traced = jax.make_jaxpr(forward)(self._blank(batch))
            compiled = openvino.Core().compile_model(convert_model(traced), "CPU", options)
            self._requests[batch] = compiled.create_infer_request()
            self(self._blank(batch))  # kernels are chosen by the first call

    def __call__(self, images_BxHxWx3: np.ndarray) -> np.ndarray:
        """Return logits float32 [B, N]."""
        images = len(images_BxHxWx3)
        batch = min(batch for batch in self._requests if batch >= images)
        if images < batch:
            padding = self._blank(batch - images)
            images_BxHxWx3 = np.concatenate([images_BxHxWx3, padding])
        request = self._requests[batch]
        request.infer([images_BxHxWx3], share_inputs=True)
        return np.asarray(request.get_output_tensor(0).data[:images].copy())

    def best_batch(self) -> int:
        """Return the batch size that computes most images a second, by a few calls of each."""

        def rate(batch: int) -> float:
            call = partial(self, self._blank(batch))
            return batch / min(seconds_of(call) for _ in range(TRIES))

        return max(self._requests, key=rate)

    def _blank(self, images: int) -> np.ndarray:
        return np.zeros((images, self._image_size, self._image_size, 3), np.uint8)
