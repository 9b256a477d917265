"""Where a run's arrays lie: on one device, on several, or on those of several hosts."""

from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from trainer.config import ComputeConfig

AXIS = "devices"
Tree = TypeVar("Tree")


class Layout:
    """A mesh of all devices, over which batches are split, and parameters if so configured.

    Fully sharded, each matrix is split along its largest dimension that the devices divide, and so
    is everything of its shape that the optimiser keeps; XLA gathers a layer when it is its turn.
    """

    def __init__(self, config: ComputeConfig) -> None:
        devices = jax.devices()
        self._fully_sharded = config.sharding == "fully_sharded"
        self._mesh = Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))
        self.device_count = len(devices)
        self.everywhere = self._split_along(None)
        self.rows = self._split_along(0)

    def of(self, tree: Tree) -> Tree:
        """Return the sharding of each array (or shape) in a tree of parameters and the like."""
        shardings: Tree = jax.tree.map(lambda leaf: self._sharding(leaf.shape), tree)
        return shardings

    def _sharding(self, shape: tuple[int, ...]) -> NamedSharding:
        divisible = [size for size in shape if size % self.device_count == 0]
        if not self._fully_sharded or len(shape) < 2 or not divisible:
            return self.everywhere
        return self._split_along(shape.index(max(divisible)))

    def _split_along(self, axis: int | None) -> NamedSharding:
        names = () if axis is None else (*[None] * axis, AXIS)
        return NamedSharding(self._mesh, PartitionSpec(*names))  # type: ignore[no-untyped-call]

    def place_rows(self, rows_local: np.ndarray) -> jax.Array:
        """Return the global batch of which this process holds these rows."""
        rows: jax.Array = jax.make_array_from_process_local_data(  # type: ignore[no-untyped-call]
            self.rows, rows_local
        )
        return rows

    def gather(self, tree: Tree) -> Tree:
        """Return the tree with each array whole on every device."""
        gathered: Tree = jax.jit(lambda x: x, out_shardings=self.everywhere)(tree)
        return gathered

    def place(self, tree: Any) -> Any:
        """Return the host's arrays on the devices that hold them."""
        return jax.tree.map(
            lambda leaf, sharding: jax.make_array_from_callback(
                leaf.shape, sharding, lambda index: np.asarray(leaf)[index]
            ),
            tree,
            self.of(tree),
        )
