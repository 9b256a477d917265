"""The first process: it starts the engine and the front ends, and replaces whoever ends.

It does nothing else, so that nothing else can end it. The front ends share one listening socket,
which it opens: what connects while one of them is being replaced is accepted by the others.
"""

import gc
import logging
import multiprocessing
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess

from service.frontends.members import Shared, run_engine, run_frontend
from service.keys import read_keys
from service.server import bind
from service.settings import Settings

log = logging.getLogger("mixer.supervisor")

# Who ends sooner than this after its start is started again later and later.
SETTLED_S = 10.0
MAX_PAUSE_S = 5.0

SIGNALS = (signal.SIGTERM, signal.SIGINT)

# Forked, not spawned: the modules are shared memory, and a successor is there in milliseconds. This
# process has no threads and no event loop that a fork could break.
_FORK = multiprocessing.get_context("fork")


@dataclass(eq=False)
class Member:
    """One of the processes, and those that took its place."""

    name: str
    work: Callable[[], None]
    process: ForkProcess | None = None
    began_s: float = 0.0
    due_s: float = 0.0  # when to start it, if it does not run
    starts: int = 0
    failures: int = 0  # in a row, each soon after a start

    def start(self) -> None:
        """Fork."""
        self.process = _FORK.Process(target=self.work, name=self.name)
        # Held back until the child has no handlers of the supervisor's, which would swallow them.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self.process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self.began_s = time.monotonic()
        self.starts += 1

    def ended(self) -> int:
        """Note that it has ended, and when to start it again; return its exit code."""
        assert self.process is not None
        self.process.join()
        code = self.process.exitcode
        assert code is not None
        self.process.close()
        self.process = None
        now_s = time.monotonic()
        self.failures = 0 if now_s - self.began_s > SETTLED_S else self.failures + 1
        pause_s = 0.05 * 2**self.failures if self.failures > 1 else 0.0
        self.due_s = now_s + min(pause_s, MAX_PAUSE_S)
        return code

    def send(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.process is not None and self.process.pid is not None:
            os.kill(self.process.pid, number)


class Supervisor:
    """Starts, replaces and ends the processes."""

    def __init__(self, settings: Settings, frontends: int) -> None:
        """Open the sockets; exits where the public address is taken.

        Raises:
            InvalidSetting: a file that a setting names is not right.
        """
        read_keys(settings)  # or each front end would find out by itself
        self._pipe, self._pipe_end = os.pipe()
        channel = socket.socket(socket.AF_UNIX)
        # In the abstract namespace: nothing lies in a file system, which may be read-only.
        channel.bind(f"\0mixer-{os.getpid()}-{secrets.token_hex(8)}")
        channel.listen()
        threads = -(-settings.decode_threads // frontends)
        settings = settings.model_copy(update={"decode_threads": threads})
        shared = Shared(settings, bind(settings), channel, self._pipe)
        self._engine = Member("engine", partial(self._run, partial(run_engine, shared)))
        self._frontends = [
            Member(
                f"frontend-{i}",
                partial(self._run, partial(run_frontend, shared, announces=i == 0)),
            )
            for i in range(frontends)
        ]
        self._signals = 0

    def run(self) -> int:
        """Keep all processes running until a signal; return the exit code."""
        gc.collect()
        gc.freeze()  # or the first collection in each process would copy every page
        with self._woken_by_signals() as woken:
            members = [self._engine, *self._frontends]
            while not self._signals:
                for member in members:
                    if member.process is None and member.due_s <= time.monotonic():
                        member.start()
                for member in _wait(members, woken, _next_start_s(members)):
                    code = member.ended()
                    if code > 0 and member.starts == member.failures == 1:
                        # It has found something wrong by itself: a taken port, an unreadable file.
                        log.error("%s could not start: exit code %d", member.name, code)
                        self._end(members, woken)
                        return code
                    log.error("%s has ended (%s): replacing it", member.name, _said(code))
            log.info("draining %d front ends", len(self._frontends))
            return self._end(members, woken)

    def _end(self, members: list[Member], woken: socket.socket) -> int:
        """End the front ends, and then the engine; a second signal goes to all at once."""
        codes = []
        for leaving in (self._frontends, [self._engine]):
            for member in leaving:
                member.send(signal.SIGTERM)
            heard = self._signals
            while any(member.process for member in leaving):
                codes += [member.ended() for member in _wait(leaving, woken)]
                if self._signals > heard:
                    heard = self._signals
                    for member in members:
                        member.send(signal.SIGTERM)
        return 0 if not any(codes) else 1

    @contextmanager
    def _woken_by_signals(self) -> Iterator[socket.socket]:
        """Count SIGTERM and SIGINT; yields what can be read when one has come."""
        woken, waking = socket.socketpair()
        waking.setblocking(False)
        signal.set_wakeup_fd(waking.fileno())
        for number in SIGNALS:
            signal.signal(number, self._count_signal)
        yield woken

    def _count_signal(self, *_: object) -> None:
        self._signals += 1

    def _run(self, work: Callable[[], None]) -> None:
        """Begin a child, without what the supervisor does about signals and its own end."""
        os.close(self._pipe_end)
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        os.setpgid(0, 0)  # a terminal's Ctrl-C goes to the supervisor alone, which tells the others
        work()


def _wait(
    members: Iterable[Member], woken: socket.socket, timeout_s: float | None = None
) -> list[Member]:
    """Return who has ended, once anyone has, a signal has come, or the time is over."""
    running = {member.process.sentinel: member for member in members if member.process}
    ready = wait([*running, woken], timeout_s)
    if woken in ready:
        woken.recv(4096)
    return [running[sentinel] for sentinel in ready if isinstance(sentinel, int)]


def _next_start_s(members: Iterable[Member]) -> float | None:
    """Return the seconds until one is to be started again; None where all run."""
    due_s = [member.due_s for member in members if member.process is None]
    return max(0.0, min(due_s) - time.monotonic()) if due_s else None


def _said(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
