import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from model_store.errors import StoreError
from model_store.manifest import PARAMETERS_FILE
from tests.trainer.conftest import MODEL_NAME, Finished
from tests.trainer.tiny import RECIPE_STEPS, command_line, write_class_folders
from trainer import train
from trainer.checkpoints import KEPT_CHECKPOINTS
from trainer.run import TrainingDiverged

REPOSITORY = Path(__file__).parents[2]
CHECKPOINT_LIMIT_S = 300
LOOK_INTERVAL_S = 0.02


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

    def start(self) -> "subprocess.Popen[bytes]":
        with self._output.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "trainer.train", *self.arguments],
                cwd=REPOSITORY,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def stop_after_a_checkpoint(self, number: signal.Signals) -> int:
        """Start, send the signal once there is a checkpoint, and return the exit code."""
        with self.start() as process:
            try:
                self._await_checkpoint(process)
                process.send_signal(number)
                return process.wait()
            finally:
                process.kill()

    def _await_checkpoint(self, process: "subprocess.Popen[bytes]") -> None:
        for _ in range(round(CHECKPOINT_LIMIT_S / LOOK_INTERVAL_S)):
            if any(each.name.isdigit() for each in self.run_dir.glob("checkpoints/*")):
                return
            # Waiting for the process's end is the pause between two looks.
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(LOOK_INTERVAL_S)
        pytest.fail(f"no checkpoint within {CHECKPOINT_LIMIT_S} s")

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def parameters(self) -> bytes:
        return (self.store / MODEL_NAME / "1" / PARAMETERS_FILE).read_bytes()


def start_steps(output: str) -> list[int]:
    """Return the step at which each process began, from lines like `..., step 3 of 36`."""
    lines = [line for line in output.splitlines() if line.endswith(f" of {RECIPE_STEPS}")]
    return [int(line.split()[-3]) for line in lines]


def parameters_of(finished: Finished) -> bytes:
    return (finished.version / PARAMETERS_FILE).read_bytes()


def main(arguments: Sequence[str]) -> int:
    with command_line(*arguments):
        return train.main()


def test_killed_run_started_again_ends_with_the_same_bits(
    finished: Finished, tmp_path: Path
) -> None:
    training = Training(finished, tmp_path)
    assert training.stop_after_a_checkpoint(signal.SIGKILL) == -signal.SIGKILL
    assert not training.store.exists()
    with training.start() as restarted:
        assert restarted.wait() == 0
    first, second = start_steps(training.output)
    assert first == 0
    assert 0 < second < RECIPE_STEPS
    assert training.parameters == parameters_of(finished)


def test_terminated_run_saves_exits_with_0_and_resumes(finished: Finished, tmp_path: Path) -> None:
    training = Training(finished, tmp_path)
    assert training.stop_after_a_checkpoint(signal.SIGTERM) == 0
    assert ": the same command goes on from here" in training.output
    stopped_at = int(training.output.split("stopped at step ")[1].split(":")[0])
    assert 0 < stopped_at < RECIPE_STEPS
    assert (training.run_dir / "checkpoints" / str(stopped_at)).is_dir()
    assert not training.store.exists()
    assert main(training.arguments) == 0
    assert training.parameters == parameters_of(finished)


def test_stop_is_answered_between_two_steps(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = Training(finished, tmp_path)

    class Stopped(train.StopRequest):
        def __init__(self) -> None:
            self.requested = True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "StopRequest", Stopped)
        assert main(training.arguments) == 0
    assert "stopped at step 0: the same command goes on from here" in capsys.readouterr().out


def test_finished_run_keeps_its_checkpoints_and_logs_its_epochs(
    finished: Finished,
) -> None:
    run_dir = finished.store.parent / "run"
    kept = {int(folder.name) for folder in (run_dir / "checkpoints").iterdir()}
    assert len(kept) == KEPT_CHECKPOINTS
    assert max(kept) == RECIPE_STEPS
    (row,) = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    assert (row["epoch"], row["step"], row["test"]["images"]) == (12, RECIPE_STEPS, 12)
    assert row["elapsed_s"] > 0


# Refusals: exit codes, and what a person reads


def refusal(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line on standard error of a command that exits with 1."""
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_unreadable_image_is_one_clear_line(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_class_folders(tmp_path / "a folder of pictures" / ("with a long name " * 10))
    broken = data / "train" / "green" / "3.png"
    broken.write_bytes(broken.read_bytes()[:50])
    arguments = (*Training(finished, tmp_path).arguments, "--data.path", str(data))
    assert refusal(arguments, capsys) == f"trainer: {broken}: no readable image"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data.path", "/nowhere"), "/nowhere: neither class folders (train/<class>/) nor"),
        (("--microbatch-size", "3"), "batch_size 8 is no multiple of microbatch_size 3"),
        (("--run-dir", "/dev/null/run"), "Not a directory: '/dev/null/run'"),
        (("--optimiser.name", "adam"), "holds a run with another optimiser"),
    ],
)
def test_command_that_cannot_work_is_one_clear_line(
    finished: Finished,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    assert message in refusal((*finished.arguments, *arguments), capsys)


@pytest.mark.parametrize(
    "error", [TrainingDiverged("nan"), StoreError("nan"), OSError("nan"), ValueError("nan")]
)
def test_every_expected_error_is_one_clear_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(train, "train", fail)
    assert refusal(("cifar10",), capsys) == "trainer: nan"


def test_misspelt_setting_exits_with_2_and_a_suggestion(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(("cifar10", "--optimiser.lerning-rate", "0.1"))
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert "--optimiser.lerning-rate" in message
    assert "--optimiser.learning-rate" in message
