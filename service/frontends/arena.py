"""Shared memory between one front end and the engine: a slot for each image under way.

The front end makes it and gives out its slots; the engine reads an image and writes the answer in
its place. It is anonymous memory (`memfd_create`): its pages count when they are touched, no limit
of /dev/shm applies, and it is gone with the last process that has it.
"""

import mmap
import os
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

_ALIGNMENT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Slot:
    """So many bytes of the arena, from `offset` on."""

    offset: int
    size_bytes: int


class Mapping:
    """The arena as one process sees it."""

    def __init__(self, descriptor: int) -> None:
        """Take the memory's file descriptor, to be closed with the mapping."""
        self.descriptor = descriptor
        self._map: mmap.mmap | None = None

    def array(self, offset: int, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
        """Return an array that lies in the memory from `offset` on.

        It keeps the memory, whatever becomes of the mapping.
        """
        count = int(np.prod(shape))
        if self._map is None or offset + count * np.dtype(dtype).itemsize > len(self._map):
            # Arrays over the smaller map keep it; both show the same memory.
            self._map = mmap.mmap(self.descriptor, 0)
        return np.frombuffer(self._map, dtype, count, offset).reshape(shape)

    def close(self) -> None:
        """Let go of the memory."""
        os.close(self.descriptor)
        self._map = None


class Arena(Mapping):
    """The front end's side, which gives out the slots."""

    def __init__(self) -> None:
        super().__init__(os.memfd_create("mixer-images"))
        self._free: defaultdict[int, list[Slot]] = defaultdict(list)  # by size
        self._end = 0

    def take(self, size_bytes: int) -> Slot:
        """Return a slot of at least so many bytes, which is nobody else's until given back."""
        rounded = -(-size_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        if free := self._free[rounded]:
            return free.pop()
        slot = Slot(self._end, rounded)
        self._end += rounded
        # Twice as large each time, so that few maps are made; what is not touched costs nothing.
        if self._end > os.fstat(self.descriptor).st_size:
            os.ftruncate(self.descriptor, 2 * self._end)
        return slot

    def give_back(self, slot: Slot) -> None:
        """Let the slot be taken again."""
        self._free[slot.size_bytes].append(slot)
