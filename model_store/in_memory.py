"""A whole file in memory, read while other Python threads go on."""

import mmap
from pathlib import Path

from model_store.errors import Corrupt, NotFound


def read_file(path: Path) -> memoryview:
    """Return the bytes of a file; other Python threads, such as an event loop, run meanwhile.

    They lie in pages that were never used: numpy would ask for huge ones, which the kernel may have
    to make room for, at several times the cost of the reading.

    Raises:
        NotFound: no such file.
        Corrupt: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            # An empty map is not allowed.
            pages = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            return memoryview(pages)[: file.readinto(memoryview(pages)[:size])]
    except FileNotFoundError as error:
        msg = f"there is no {path}"
        raise NotFound(msg) from error
    except OSError as error:
        msg = f"{path}: {error}"
        raise Corrupt(msg) from error
