"""What this process may use of the machine."""

import math
import os
from pathlib import Path

CONTROL_GROUP = Path("/sys/fs/cgroup/cpu.max")
# Whether processes can share memory without a file, as front ends and engine do: on Linux.
SHARES_MEMORY = hasattr(os, "memfd_create")


def available_cores(control_group: Path = CONTROL_GROUP) -> int:
    """Return the cores that this process may use: of its affinity, and of its container's quota.

    A container that is limited to two of 64 cores sees all 64; one thread for each would share the
    two. The quota is read where the kernel shows it (cgroup v2).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, _quota(control_group)))


def default_frontends(cores: int) -> int:
    """Return how many front ends feed a device: one for every four cores.

    Four cores that decode for an accelerator give one process as much as it carries; how that is
    reckoned stands in docs/performance.md.
    """
    return max(1, cores // 4) if SHARES_MEMORY else 1


def _quota(control_group: Path) -> int:
    """Return the whole cores of the quota, rounded up; without one, more than there are."""
    try:
        quota_us, period_us = control_group.read_text().split()
    except (OSError, ValueError):
        quota_us, period_us = "max", "1"
    return 2**31 if quota_us == "max" else math.ceil(int(quota_us) / int(period_us))
