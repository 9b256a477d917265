"""The tiny recipe as a process of its own, which tests stop, kill and start again."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from model_store.manifest import PARAMETERS_FILE
from tests.trainer.conftest import MODEL_NAME, Finished

REPOSITORY = Path(__file__).parents[2]
SIGHT_LIMIT_S = 300
LOOK_INTERVAL_S = 0.005
UNFINISHED = ".orbax-checkpoint-tmp"


class Training:
    """The tiny recipe as a process of its own, with a folder and a store of its own."""

    def __init__(self, finished: Finished, root: Path) -> None:
        self.run_dir, self.store = root / "run", root / "store"
        self.arguments = (
            *finished.arguments,
            *("--run-dir", str(self.run_dir), "--publish-to", str(self.store)),
            *("--checkpoint-every-steps", "1"),
        )
        self._output = root / "output.txt"

    def start(self, output: int | None = None) -> "subprocess.Popen[bytes]":
        """Start the process, whose output goes to `self.output` unless it shall go elsewhere."""
        with self._output.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "trainer.train", *self.arguments],
                cwd=REPOSITORY,
                stdout=output or file,
                stderr=subprocess.STDOUT,
            )

    def stop_after_a_checkpoint(self, number: signal.Signals) -> int:
        """Start, send the signal once there is a checkpoint, and return the exit code."""
        with self.start() as process:
            try:
                await_sight(process, self.has_checkpoint)
                process.send_signal(number)
                return process.wait()
            finally:
                process.kill()

    def kill_at_sight(self, sight: Callable[[], bool]) -> None:
        """Start, and send SIGKILL while what `sight` looks for in the file system is there."""
        with self.start() as process:
            try:
                await_sight(process, lambda: sight() and holds_still(process, sight))
            finally:
                process.kill()
        assert process.returncode == -signal.SIGKILL

    @property
    def newest_step(self) -> int:
        """The step of the newest whole checkpoint, 0 without any."""
        names = (each.name for each in self.run_dir.glob("checkpoints/*"))
        return max((int(name) for name in names if name.isdigit()), default=0)

    def has_checkpoint(self) -> bool:
        return self.newest_step > 0

    def is_writing_a_checkpoint(self) -> bool:
        """Whether a newer checkpoint has begun: older ones may lie there since the last kill."""
        files = self.run_dir.glob(f"checkpoints/*{UNFINISHED}/*")
        steps = [int(file.parent.name.removesuffix(UNFINISHED)) for file in files]
        return max(steps, default=0) > self.newest_step

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def parameters(self) -> bytes:
        return (self.store / MODEL_NAME / "1" / PARAMETERS_FILE).read_bytes()


def await_sight(process: "subprocess.Popen[bytes]", sight: Callable[[], bool]) -> None:
    for _ in range(round(SIGHT_LIMIT_S / LOOK_INTERVAL_S)):
        if sight():
            return
        # Waiting for the process's end is the pause between two looks.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(LOOK_INTERVAL_S)
    pytest.fail(f"not seen within {SIGHT_LIMIT_S} s")


def holds_still(process: "subprocess.Popen[bytes]", sight: Callable[[], bool]) -> bool:
    """Stop the process and look again: what is still there then is there at its end too."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    if sight():
        return True
    process.send_signal(signal.SIGCONT)
    return False
