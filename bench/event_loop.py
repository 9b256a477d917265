"""Work on the event loop: `python -m bench.event_loop` counts callbacks of more than 1 ms.

The service runs in this process, on asyncio's own loop, whose every callback is measured in CPU
time of its thread: what else the machine does is not in it. The generator is another process.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from asyncio import events
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.pictures import write_photos
from service.app import create_app
from service.engine import Engine
from service.server import Server, settle_heap
from service.settings import load_settings

LONG_S = 1e-3


@dataclass
class Callbacks:
    """CPU seconds of the callbacks of one event loop."""

    seconds: list[float] = field(default_factory=list)
    long: Counter[str] = field(default_factory=Counter)
    """How often a callback took longer than `LONG_S`, by its name."""

    def add(self, name: str, seconds: float) -> None:
        """Note one callback."""
        self.seconds.append(seconds)
        if seconds > LONG_S:
            self.long[name] += 1

    def summary(self) -> dict[str, Any]:
        """Return counts, and percentiles in milliseconds."""
        ms = np.array(self.seconds or [0.0]) * 1e3
        percentiles = {f"p{p}_ms": round(float(np.percentile(ms, p)), 3) for p in (50, 99, 99.9)}
        return {
            "callbacks": len(self.seconds),
            **percentiles,
            "longest_ms": round(float(ms.max()), 3),
            "longer_than_1_ms": sum(self.long.values()),
            "by_name": dict(self.long.most_common(10)),
        }


@contextmanager
def measured_callbacks() -> Iterator[Callbacks]:
    """Measure every callback of asyncio's pure-Python loops in this process."""
    found, run = Callbacks(), events.Handle._run

    def measured(handle: Any) -> None:
        began_s = time.thread_time()
        run(handle)
        found.add(_name(handle), time.thread_time() - began_s)

    events.Handle._run = measured  # type: ignore[assignment, method-assign]
    try:
        yield found
    finally:
        events.Handle._run = run  # type: ignore[method-assign]


def _name(handle: Any) -> str:
    callback = handle._callback
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return f"task {getattr(task.get_coro(), '__qualname__', task)}"
    return str(getattr(callback, "__qualname__", callback))


async def _serve_and_measure(arguments: argparse.Namespace, photos: Path) -> dict[str, Any]:
    settings = load_settings({"port": 0, "log_level": "warning"})
    engine = Engine(settings)
    server = Server(create_app(settings, engine), settings)
    async with engine.running():
        serving = asyncio.create_task(server.serve())
        await engine.health.started.wait()
        load, callbacks = await _load(server, arguments, photos)
        server.should_exit = True
        await serving
    return {"requests": load["requests"], "statuses": load["statuses"], **callbacks}


async def _load(
    server: Server, arguments: argparse.Namespace, photos: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the generator saw, and the summary of the callbacks meanwhile."""
    command = [
        *(sys.executable, "-m", "loadtest.open_loop"),
        *("--url", f"{server.address}/{arguments.endpoint}", "--images", str(photos)),
        *("--clients", str(arguments.clients), "--duration-s", str(arguments.seconds)),
        *("--json", str(photos.parent / "load.json")),
    ]
    settle_heap()
    with measured_callbacks() as callbacks:
        generator = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
        if await generator.wait():
            raise RuntimeError(f"{' '.join(command)} failed")
    return json.loads((photos.parent / "load.json").read_text()), callbacks.summary()


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.event_loop", description=__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--endpoint", choices=("classify", "embed"), default="classify")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        write_photos(photos)
        print(json.dumps(asyncio.run(_serve_and_measure(arguments, photos)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
