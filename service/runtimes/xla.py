"""XLA: the flax network compiled by jax for CPU, GPU or TPU, one executable for each bucket."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

from model_store.mixer import load_state
from model_store.preprocess import Preprocessing, normalise
from model_store.variants import MixerConfig

COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"


class XlaProgram:
    """A Mixer on one device, compiled ahead of time, in float32 at the highest precision.

    Pixels cross to the device as uint8 and are normalised inside the compiled function. Calls run
    compiled executables alone, so that no request can ever compile.
    """

    runtime = "xla"

    def __init__(
        self,
        config: MixerConfig,
        preprocessing: Preprocessing,
        arrays: Mapping[str, np.ndarray],
        device: jax.Device | None = None,
    ) -> None:
        self._device = device or jax.local_devices()[0]
        self._config = config
        graph, params = load_state(config, arrays)
        # Weights are an argument, not constants: every bucket's executable shares one copy.
        self._params = jax.device_put(params, self._device)

        def forward(params: Any, images_BxHxWx3: jax.Array) -> tuple[jax.Array, jax.Array]:
            return nnx.merge(graph, params)(normalise(images_BxHxWx3, preprocessing))

        self._jitted = jax.jit(forward)
        self._executables: dict[int, Any] = {}

    @property
    def device(self) -> str:
        """Kind of the device, such as `cpu` or `NVIDIA H200`."""
        return str(self._device.device_kind)

    def compile(self, bucket: int) -> None:
        """Make the executable for batches of exactly `bucket` images."""
        size = self._config.image_size
        images = jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
            (bucket, size, size, 3),
            np.uint8,
            sharding=jax.sharding.SingleDeviceSharding(self._device),
        )
        with jax.default_matmul_precision("highest"):
            self._executables[bucket] = self._jitted.lower(self._params, images).compile()

    def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits float32 [B, N] and embeddings float32 [B, C] of uint8 images.

        Raises:
            KeyError: B is no compiled bucket.
        """
        executable = self._executables[len(images_BxHxWx3)]
        logits, embedding = executable(self._params, jax.device_put(images_BxHxWx3, self._device))
        return np.asarray(logits), np.asarray(embedding)


def on_compilation(callback: Callable[[], None]) -> None:
    """Call `callback` after every program that jax compiles in this process, whoever asked."""

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:  # noqa: ARG001
        if event == COMPILE_EVENT:
            callback()

    jax.monitoring.register_event_duration_secs_listener(listen)
