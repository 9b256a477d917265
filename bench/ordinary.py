"""What one writes around the same network without this project: the parts of an ordinary server.

Pillow decodes a picture and resizes all of it; OpenVINO converts the flax network, a graph for each
batch size, and smaller batches are padded.
"""

from collections.abc import Mapping
from functools import partial
from io import BytesIO
from typing import Any

import jax
import numpy as np
from flax import nnx
from PIL import Image

from bench.repetition import seconds_of
from model_store.layers import Execution
from model_store.mixer import load_state
from model_store.preprocess import FILTERS, Preprocessing, normalise
from model_store.variants import MixerConfig
from service.runtimes.openvino import PRECISION_HINTS
from service.runtimes.openvino_import import import_openvino
from service.runtimes.program import Precision

BATCHES = (1, 2, 4, 8, 16, 32)
TRIES = 5  # of each batch size, of which the fastest counts


def pixels_of(file: bytes, preprocessing: Preprocessing) -> np.ndarray:
    """Decode a JPEG file, resize it whole and crop its centre; uint8 [H, W, 3]."""
    with Image.open(BytesIO(file), formats=["JPEG"]) as image:
        return resized(image, preprocessing)


def resized(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Resize an opened picture whole and crop its centre; uint8 [H, W, 3]."""
    target, crop = preprocessing.resize_size, preprocessing.crop_size
    size = (target, target)
    if preprocessing.resize == "shorter_side":
        scale = target / min(image.size)
        size = (round(image.width * scale), round(image.height * scale))
    small = image.convert("RGB").resize(size, FILTERS[preprocessing.filter])
    left, top = (size[0] - crop) // 2, (size[1] - crop) // 2
    return np.asarray(small.crop((left, top, left + crop, top + crop)))


class OrdinaryProgram:
    """The flax network as OpenVINO's JAX front end converts it; one caller at a time.

    Takes pixels uint8 [B, H, W, 3] of a version whose network has this architecture and these
    parameters, B up to the largest of `batches`.
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
