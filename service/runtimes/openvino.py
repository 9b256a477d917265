"""OpenVINO: the Mixer compiled for x86 CPUs; any batch size runs, without padding.

Its kernels use what the CPU has (AVX-512, and AMX for bfloat16), which XLA's do not.
"""

import platform
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np

from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig
from service.machine import available_cores
from service.runtimes.openvino_import import import_openvino
from service.runtimes.program import Precision

# What activations are kept in, and products too where nothing else is said.
PRECISION_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
# Beside weights of int8, so many neighbouring activations of a token are rounded by one scale of
# their own, with no calibration before. Groups of 64 and fewer are slower, and no more exact.
GROUP_SIZE = 256


class OpenVinoProgram:
    """A Mixer on the CPU. Pixels go in as uint8 and are normalised inside the graph."""

    runtime = "openvino"
    pads = False
    device = platform.processor() or platform.machine()

    def __init__(
        self,
        config: MixerConfig,
        preprocessing: Preprocessing,
        arrays: Mapping[str, np.ndarray],
        *,
        precision: Precision = "float32",
        on_compilation: Callable[[], None] = lambda: None,
        cache_dir: Path | None = None,
    ) -> None:
        openvino, mixer = import_all(cache_dir)
        self.precision: Precision = precision
        self._image_size = config.image_size
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision],
            # Else as many as the machine has cores, whatever a container's quota: the kernel would
            # stop all of them again and again. Bound to cores, several processes share the same.
            "INFERENCE_NUM_THREADS": available_cores(),
            "ENABLE_CPU_PINNING": False,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP_SIZE if precision == "int8" else 0,
        }
        model = mixer.build_mixer(config, preprocessing, arrays, precision)
        self._compiled = openvino.Core().compile_model(model, "CPU", options)
        self._request = self._compiled.create_infer_request()
        on_compilation()

    @property
    def threads(self) -> int:
        """How many threads compute a batch."""
        return int(self._compiled.get_property("INFERENCE_NUM_THREADS"))

    def compile(self, bucket: int) -> None:
        """Run a batch of `bucket` blank images: kernels are chosen when a size is first seen."""
        self(np.zeros((bucket, self._image_size, self._image_size, 3), np.uint8))

    def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits float32 [B, N] and embeddings float32 [B, C] of uint8 images."""
        self._request.infer([images_BxHxWx3], share_inputs=True)
        # Copied, since the next call writes over them.
        logits, embedding = (self._request.get_output_tensor(i).data.copy() for i in (0, 1))
        return logits, embedding


def import_all(cache_dir: Path | None) -> tuple[ModuleType, ModuleType]:
    """Return OpenVINO and the module of our network in its operations, which imports it too."""
    return import_openvino(cache_dir), import_module("service.runtimes.openvino_mixer")


def is_available() -> bool:
    """Say whether OpenVINO is installed and made for this CPU."""
    return platform.machine() in {"x86_64", "AMD64"} and find_spec("openvino") is not None
