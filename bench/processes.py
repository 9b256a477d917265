"""What Linux tells of a running process and its children, from /proc."""

import os
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Stat(NamedTuple):
    """The fields of /proc/PID/stat that matter here."""

    parent: int
    cpu_s: float  # user and system, of threads that have ended too


class Held(NamedTuple):
    """What a process holds now."""

    resident_bytes: int
    files: int
    threads: int


def parse_stat(text: str, ticks_per_s: int) -> Stat:
    """Read one /proc/PID/stat; the name in it may hold blanks and parentheses."""
    fields = text.rpartition(")")[2].split()
    return Stat(int(fields[1]), (int(fields[11]) + int(fields[12])) / ticks_per_s)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds so far of a process and of its living descendants."""
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    stats: dict[int, Stat] = {}
    for folder in PROC.iterdir():
        if folder.name.isdecimal():
            try:
                text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
            stats[int(folder.name)] = parse_stat(text, ticks_per_s)
    return sum(stats[member].cpu_s for member in family(pid, stats))


def family(pid: int, stats: dict[int, Stat]) -> list[int]:
    """Return the process and its descendants, parents first.

    Raises:
        ProcessLookupError: there is no such process.
    """
    if pid not in stats:
        raise ProcessLookupError(f"there is no process {pid}")
    children = defaultdict(list)
    for child, stat in stats.items():
        children[stat.parent].append(child)
    found = [pid]
    for member in found:  # grows while it is read
        found += children[member]
    return found


def held(pid: int) -> Held:
    """Return what one process holds now."""
    folder = PROC / str(pid)
    pages = int((folder / "statm").read_text().split()[1])
    return Held(
        resident_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
        files=len(list((folder / "fd").iterdir())),
        threads=len(list((folder / "task").iterdir())),
    )
