"""What every peer serves: one decode with Pillow, an OpenVINO program, and the best five classes.

Nothing here knows a server, so that peers differ in nothing else.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench import ordinary
from bench.peers.options import Served
from model_store.contents import MANIFEST_FILE
from model_store.manifest import PARAMETERS_FILE, Manifest, parse_manifest
from model_store.parameters import read_parameters
from model_store.preprocess import to_input
from service.runtimes.openvino import OpenVinoProgram

MAX_BATCH_IMAGES = 32
# How long the first of a batch waits for others, where a peer has such a setting: a few times what
# the network takes for one image.
MAX_WAIT_MS = 10
TOP_K = 5

# {"predictions": [{"class_id": 3, "score": 0.93}, …]}, as the service answers, but for labels.
Answer = dict[str, Any]


class Decoder:
    """Makes a JPEG file a network input, as the version's manifest says."""

    def __init__(self, served: Served) -> None:
        self._preprocessing = _manifest(served.version_dir).preprocessing
        self._resized = to_input if served.parts == "ours" else ordinary.resized

    def __call__(self, file: bytes) -> np.ndarray:
        """Return the pixels uint8 [H, W, 3] of a JPEG file."""
        with Image.open(BytesIO(file), formats=["JPEG"]) as image:
            return self.resized(image)

    def resized(self, image: Image.Image) -> np.ndarray:
        """Return the pixels uint8 [H, W, 3] of an opened picture."""
        return self._resized(image.convert("RGB"), self._preprocessing)


class Engine:
    """One version as an OpenVINO program, warm at every batch size; one caller at a time.

    The program is the service's own, or the flax network's conversion.
    """

    def __init__(self, served: Served) -> None:
        manifest = _manifest(served.version_dir)
        network = (
            manifest.architecture,
            manifest.preprocessing,
            read_parameters(served.version_dir / PARAMETERS_FILE),
        )
        self._program: Callable[[np.ndarray], np.ndarray]
        if served.parts == "ours":
            program = OpenVinoProgram(*network, precision=served.precision)
            self._program = lambda images_BxHxWx3: program(images_BxHxWx3)[0]
        else:
            # Only here: it takes jax, which no other process of a peer needs.
            from bench.ordinary_program import OrdinaryProgram  # noqa: PLC0415

            self._program = OrdinaryProgram(*network, precision=served.precision)
        self._image_size = manifest.architecture.image_size

    def warm_up(self, max_batch_images: int = MAX_BATCH_IMAGES) -> None:
        """Run every batch size once: kernels are chosen when a size is first seen."""
        for batch in range(1, max_batch_images + 1):
            self.logits(np.zeros((batch, self._image_size, self._image_size, 3), np.uint8))

    def logits(self, images_BxHxWx3: np.ndarray) -> np.ndarray:
        """Return logits float32 [B, N] of pixels uint8 [B, H, W, 3]."""
        return self._program(np.ascontiguousarray(images_BxHxWx3))


def top_classes(logits_BxN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the most probable classes int32 [B, K] and their softmax float32 [B, K], best first.

    K is 5, or the number of classes where there are fewer.
    """
    shifted_BxN = np.exp(logits_BxN - logits_BxN.max(axis=1, keepdims=True))
    scores_BxN = shifted_BxN / shifted_BxN.sum(axis=1, keepdims=True)
    ids_BxK = np.argsort(-scores_BxN, axis=1, kind="stable")[:, :TOP_K]
    return ids_BxK.astype(np.int32), np.take_along_axis(scores_BxN, ids_BxK, axis=1)


def answers(logits_BxN: np.ndarray) -> list[Answer]:
    """Return one body for each row of logits."""
    ids_BxK, scores_BxK = top_classes(logits_BxN)
    rows = zip(ids_BxK.tolist(), scores_BxK.tolist(), strict=True)
    return [
        {"predictions": [{"class_id": i, "score": s} for i, s in zip(*row, strict=True)]}
        for row in rows
    ]


def decoding_threads() -> ThreadPoolExecutor:
    """Return threads for decoding, as many as Python thinks fit: Pillow works in parallel."""
    return ThreadPoolExecutor(thread_name_prefix="decode")


def _manifest(version_dir: Path) -> Manifest:
    data = (version_dir / MANIFEST_FILE).read_bytes()
    return parse_manifest(data, name=str(version_dir))
