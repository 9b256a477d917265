"""A server and all processes that it started: their CPU time, and their end. Linux alone."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
KILL_TIMEOUT_S = 5.0
POLL_S = 0.05
STOPPED = "TZ"  # by a signal, or ended


@dataclass(frozen=True)
class Process:
    """One process as the kernel describes it; `began_ticks` tells it from a later of its number."""

    pid: int
    state: str  # Z: ended, and not yet waited for by its parent
    parent_pid: int
    session: int
    cpu_ticks: int  # in user and system mode
    began_ticks: int


def parse_stat(text: str) -> Process:
    """Read `/proc/PID/stat`, in which the name, in parentheses, may hold anything."""
    pid, fields = int(text.split(" ", 1)[0]), text.rpartition(")")[2].split()
    cpu_ticks = int(fields[11]) + int(fields[12])
    return Process(pid, fields[0], int(fields[1]), int(fields[3]), cpu_ticks, int(fields[19]))


def family(processes: Iterable[Process], root_pid: int) -> list[Process]:
    """Return the root, all that descend from it, and what is left of its session."""
    found, left = list[Process](), list(processes)
    pids = {root_pid}
    while joined := [p for p in left if p.pid in pids or _belongs(p, pids, root_pid)]:
        found += joined
        pids |= {p.pid for p in joined}
        left = [p for p in left if p.pid not in pids]
    return found


def _belongs(process: Process, pids: set[int], root_pid: int) -> bool:
    return process.parent_pid in pids or process.session == root_pid


def read_processes() -> list[Process]:
    """Return all processes of this machine."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            found.append(parse_stat(file.read_text()))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return found


class ServerProcesses:
    """A started server; it leads a session of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process, self.pid = process, process.pid

    def has_ended(self) -> bool:
        """Say whether the started process itself has ended."""
        return self._process.poll() is not None

    def cpu_s(self) -> float:
        """Return the CPU seconds of all its processes that live."""
        return sum(p.cpu_ticks for p in self._family()) / TICKS_PER_S

    def pause(self) -> None:
        """Stop all its processes where they are, and those that they start meanwhile."""
        while any(process.state not in STOPPED for process in self._family()):
            self._signal(signal.SIGSTOP)
            time.sleep(POLL_S)

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """Let all its processes go on until the end of the block."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.pause()

    def _signal(self, number: signal.Signals) -> None:
        for process in self._family():
            _send(process.pid, number)

    def end(self, leave_timeout_s: float) -> None:
        """Ask the server to end, then end what is left of its processes after a while."""
        known = self._family()
        try:
            self._signal(signal.SIGCONT)  # stopped processes do not hear
            self._process.terminate()
            _wait_for_end(known, leave_timeout_s)
        finally:  # when we are told to end meanwhile, too
            left = {*_living(known), *self._family()}
            for process in left:
                _send(process.pid, signal.SIGKILL)
        _wait_for_end(left, KILL_TIMEOUT_S)
        self._process.wait()

    def _family(self) -> list[Process]:
        return family(read_processes(), self._process.pid)


@contextmanager
def started(
    command: list[str], log: Path, *, leave_timeout_s: float = 15.0
) -> Iterator[ServerProcesses]:
    """Run a server until the block ends; what it prints goes to a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        server = ServerProcesses(process)
        try:
            yield server
        finally:
            server.end(leave_timeout_s)


def _living(known: Iterable[Process]) -> list[Process]:
    began_ticks = {p.pid: p.began_ticks for p in read_processes() if p.state != "Z"}
    return [p for p in known if began_ticks.get(p.pid) == p.began_ticks]


def _wait_for_end(known: Iterable[Process], timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while _living(known) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has ended
        os.kill(pid, number)
