"""What the hypervisor takes of this machine's processors, for others on the same host."""

import os
import time
from collections.abc import Callable
from pathlib import Path

STAT = Path("/proc/stat")


def stolen_s(stat: Path = STAT) -> float:
    """Return the seconds taken of all cores since the boot; 0 where the system tells nothing."""
    if not stat.exists():
        return 0.0
    fields = stat.read_text().partition("\n")[0].split()  # cpu user nice system idle ... steal
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


class StolenShare:
    """Which share of all cores' time was taken since this was made."""

    def __init__(
        self, stolen_s: Callable[[], float] = stolen_s, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._stolen_s, self._now_s = stolen_s, now_s
        self._began = stolen_s(), now_s()

    def so_far(self) -> float:
        """Return the share, 0 to 1."""
        stolen_s, wall_s = self._stolen_s() - self._began[0], self._now_s() - self._began[1]
        return stolen_s / (wall_s * (os.cpu_count() or 1)) if stolen_s else 0.0

    def told(self) -> str:
        """Return the share in words."""
        return f"{self.so_far():.1%} of the processor's time, by the hypervisor"
