"""The C allocator's setting that a Mixer on a CPU wants, for trainer and service alike."""

import ctypes

# glibc's malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
M_ARENA_MAX = -8


def keep_freed_memory() -> bool:
    """Make glibc keep large freed buffers for the next call; False where there is no glibc.

    XLA asks for its buffers anew on every call, tens of MiB that glibc maps and unmaps each time;
    the page faults then cost about as much as the arithmetic. Call it before the first jax array.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_ARENA_MAX, 1))
    return all(mallopt(name, value) == 1 for name, value in settings)
