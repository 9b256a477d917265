"""What this process may use of the machine."""

import math
import os
from pathlib import Path

CONTROL_GROUP = Path("/sys/fs/cgroup/cpu.max")
# Device files of NVIDIA's driver, and of TPUs by either of their drivers.
ACCELERATORS = ("nvidia[0-9]*", "accel[0-9]*", "vfio/[0-9]*")


def available_cores(control_group: Path = CONTROL_GROUP) -> int:
    """Return the cores that this process may use: of its affinity, and of its container's quota.

    A container that is limited to two of 64 cores sees all 64; one thread for each would share the
    two. The quota is read where the kernel shows it (cgroup v2).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, _quota(control_group)))


def has_accelerator(devices: Path = Path("/dev")) -> bool:
    """Say whether there is a GPU or TPU, from its device file: no driver is started for it."""
    return any(any(devices.glob(pattern)) for pattern in ACCELERATORS)


def default_frontends(cores: int, *, accelerator: bool) -> int:
    """Return how many front ends feed a device.

    Cores that compute leave few to feed them; before an accelerator they decode alone. What one
    process carries is measured in docs/performance.md.
    """
    return max(1, cores // (4 if accelerator else 8))


def _quota(control_group: Path) -> int:
    """Return the whole cores of the quota, rounded up; without one, more than there are."""
    try:
        quota_us, period_us = control_group.read_text().split()
    except (OSError, ValueError):
        quota_us, period_us = "max", "1"
    return 2**31 if quota_us == "max" else math.ceil(int(quota_us) / int(period_us))
