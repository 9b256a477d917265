"""`mixer serve` as a process of its own on a free port of the loopback, ended with the block."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

START_TIMEOUT_S, STOP_TIMEOUT_S = 180, 30
LOOK_S = 0.005  # grain of the measured start
_READY = re.compile(r"ready: open (http://[^/]+)/docs")


class Running(NamedTuple):
    """A server that answers: where, in which process (and its children), and how soon it did."""

    url: str  # takes a POST of a picture's bytes
    pid: int
    ready_s: float


@contextmanager
def mixer_serve(
    log: Path, *, store: Path, model: str, cache: Path, **more: str
) -> Iterator[Running]:
    """Serve a model of the store, with default settings but for `more`; yields once it is ready.

    Raises:
        RuntimeError: it did not become ready; the message is its log.
    """
    settings = {
        "port": "0",
        "store": str(store / "versions"),
        "models": model,
        "compile-cache-dir": str(cache),
        **more,
    }
    options = [part for name, value in settings.items() for part in (f"--{name}", value)]
    began_s = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "service", "serve", *options], stdout=output, stderr=output
        )
    try:
        base = _wait_ready(process, log)
        yield Running(f"{base}/classify", process.pid, time.perf_counter() - began_s)
    finally:
        end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask a process to end, and make it end when it does not."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_ready(process: "subprocess.Popen[bytes]", log: Path) -> str:
    give_up_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up_s and process.poll() is None:
        if found := _READY.search(log.read_text(errors="replace")):
            return found.group(1)
        # Popen.wait would look much more often, on a core that the start could use.
        time.sleep(LOOK_S)
    raise RuntimeError(f"the server did not become ready:\n{log.read_text(errors='replace')}")
