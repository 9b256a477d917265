"""XLA: the flax network compiled by jax for CPU, GPU or TPU, one executable for each bucket."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from model_store.layers import Execution
from model_store.mixer import load_state
from model_store.preprocess import Preprocessing, normalise
from model_store.variants import MixerConfig
from service.runtimes.program import Precision

_SPLIT = PartitionSpec("batch")  # type: ignore[no-untyped-call]
_EVERYWHERE = PartitionSpec()  # type: ignore[no-untyped-call]

COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"

# float32 products are exact ones; in bfloat16 the factors are rounded already.
MATMUL_PRECISION = {"float32": "highest", "bfloat16": "default"}


class XlaProgram:
    """A Mixer on all local devices, compiled ahead of time.

    Pixels cross to the devices as uint8 and are normalised inside the compiled function. Calls run
    compiled executables alone, so that no request can ever compile. Every device has all weights;
    a bucket that they can share evenly is split between them, any other runs whole on each.
    """

    runtime = "xla"
    pads = True

    def __init__(
        self,
        config: MixerConfig,
        preprocessing: Preprocessing,
        arrays: Mapping[str, np.ndarray],
        *,
        precision: Precision = "float32",
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        self.precision: Precision = precision
        self._devices = list(devices or jax.local_devices())
        self._mesh = Mesh(np.array(self._devices), ("batch",))
        self._config = config
        graph, params = load_state(config, arrays, Execution(dtype=jnp.dtype(precision)))
        # Weights are an argument, not constants: every bucket's executable shares one copy.
        self._params = jax.device_put(params, self._sharding(_EVERYWHERE))

        def forward(params: Any, images_BxHxWx3: jax.Array) -> tuple[jax.Array, jax.Array]:
            return nnx.merge(graph, params)(normalise(images_BxHxWx3, preprocessing))

        self._jitted = jax.jit(forward)
        self._executables: dict[int, Any] = {}

    @property
    def device(self) -> str:
        """Kind of the devices, such as `cpu` or `4 x NVIDIA H200`."""
        kind, count = str(self._devices[0].device_kind), len(self._devices)
        return kind if count == 1 else f"{count} x {kind}"

    def compile(self, bucket: int) -> None:
        """Make the executable for batches of exactly `bucket` images."""
        size = self._config.image_size
        images = jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
            (bucket, size, size, 3), np.uint8, sharding=self._rows(bucket)
        )
        with jax.default_matmul_precision(MATMUL_PRECISION[self.precision]):
            self._executables[bucket] = self._jitted.lower(self._params, images).compile()

    def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits float32 [B, N] and embeddings float32 [B, C] of uint8 images.

        Raises:
            KeyError: B is no compiled bucket.
        """
        bucket = len(images_BxHxWx3)
        executable = self._executables[bucket]
        images = jax.device_put(images_BxHxWx3, self._rows(bucket))
        logits, embedding = executable(self._params, images)
        return np.asarray(logits), np.asarray(embedding)

    def _rows(self, bucket: int) -> NamedSharding:
        even = bucket % len(self._devices) == 0
        return self._sharding(_SPLIT if even else _EVERYWHERE)

    def _sharding(self, spec: PartitionSpec) -> NamedSharding:
        return NamedSharding(self._mesh, spec)


def use_compile_cache(folder: Path | None) -> None:
    """Keep compiled programs in this folder, and take them from there, from now on.

    jax finds them by program, device, versions and flags, and compiles anew what it cannot read.
    Whoever writes into the folder runs code in this process. None leaves jax as it is.
    """
    if folder is None or jax.config.values["jax_compilation_cache_dir"] == str(folder):
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # type: ignore[no-untyped-call]
    compilation_cache.reset_cache()


@cache
def on_compilation(callback: Callable[[], None]) -> None:
    """Call `callback` after every program that jax compiles in this process, whoever asked.

    Asked twice for the same callback, it is called once.
    """

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:  # noqa: ARG001
        if event == COMPILE_EVENT:
            callback()

    jax.monitoring.register_event_duration_secs_listener(listen)
