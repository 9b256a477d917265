"""The job as a process of its own, which tests run, kill and start again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).parents[3]
SIGHT_LIMIT_S = 300
LOOK_INTERVAL_S = 0.01


class File(NamedTuple):
    """What tells whether a file was written again."""

    content: bytes
    modified_ns: int


@dataclass(frozen=True)
class Run:
    """One job's command line, and the folder that it writes into."""

    output: Path
    options: Mapping[str, object]
    environment: Mapping[str, str]

    def finish(self, **options: object) -> "subprocess.CompletedProcess[str]":
        """Run to the end; these options win."""
        return subprocess.run(
            self._command(options),
            cwd=REPOSITORY,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )

    def kill_after(self, parts: int) -> None:
        """Start, and send SIGKILL to the driver once so many parts are there."""
        with self._running_until(parts) as process:
            process.kill()
        assert process.returncode == -signal.SIGKILL

    def kill_worker_after(self, parts: int) -> int:
        """Start, send SIGKILL to the worker once so many parts are there; return the exit code."""
        with self._running_until(parts) as process:
            (worker,) = (pid for pid in _descendants(process.pid) if _is_worker(pid))
            os.kill(worker, signal.SIGKILL)
            return process.wait()

    def parts(self) -> dict[str, File]:
        """Return every part by its name."""
        return {
            path.name: File(path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.output.glob("part-*.parquet")
        }

    @contextmanager
    def _running_until(self, parts: int) -> "Iterator[subprocess.Popen[bytes]]":
        """Start, and yield the driver once so many parts are there."""
        with subprocess.Popen(
            self._command({}),
            cwd=REPOSITORY,
            env=dict(self.environment),
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                for _ in range(round(SIGHT_LIMIT_S / LOOK_INTERVAL_S)):
                    if len(self.parts()) >= parts:
                        break
                    # Waiting for the process's end is the pause between two looks.
                    with pytest.raises(subprocess.TimeoutExpired):
                        process.wait(LOOK_INTERVAL_S)
                yield process
            finally:
                process.kill()

    def _command(self, options: Mapping[str, object]) -> list[str]:
        given = {**self.options, "output": self.output, **options}
        named = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
        return [sys.executable, "-m", "deploy.batch", "--ray-address=local", *named]


def _descendants(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return [*children, *(each for child in children for each in _descendants(child))]


def _is_worker(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::MapWorker")
