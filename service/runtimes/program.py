"""What a runtime makes of a model: the one protocol behind which XLA and OpenVINO lie."""

from typing import Protocol

import numpy as np

from service.settings import Precision

__all__ = ["Precision", "Program"]


class Program(Protocol):
    """A network on a device, ready to be called once its batch sizes are compiled."""

    runtime: str
    precision: Precision
    """Type of the products and activations; weights are read as they are stored."""
    pads: bool
    """Whether it runs the compiled batch sizes alone; else any size, and `compile` only warms."""

    @property
    def device(self) -> str:
        """Kind of the device."""

    def compile(self, bucket: int) -> None:
        """Prepare for batches of exactly this many images."""

    def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 images -> logits float32 [B, N], embeddings float32 [B, C]."""
