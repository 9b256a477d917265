import json
import re
import resource
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from model_store.errors import StoreError
from model_store.manifest import PARAMETERS_FILE
from tests.trainer.conftest import Finished
from tests.trainer.process import Training, await_sight
from tests.trainer.tiny import RECIPE_STEPS, command_line, write_class_folders
from trainer import train
from trainer.checkpoints import KEPT_CHECKPOINTS, CheckpointError
from trainer.run import TrainingDiverged


def start_steps(output: str) -> list[int]:
    """Return the step at which each process began, from lines like `..., step 3 of 36`."""
    lines = [line for line in output.splitlines() if line.endswith(f" of {RECIPE_STEPS}")]
    return [int(line.split()[-3]) for line in lines]


def parameters_of(finished: Finished) -> bytes:
    return (finished.version / PARAMETERS_FILE).read_bytes()


def main(arguments: Sequence[str]) -> int:
    with command_line(*arguments):
        return train.main()


def test_run_killed_again_and_again_ends_with_the_same_bits(
    finished: Finished, tmp_path: Path
) -> None:
    training = Training(finished, tmp_path)
    training.kill_at_sight(training.run_dir.is_dir)  # at its start, before any step
    training.kill_at_sight(training.is_writing_a_checkpoint)
    reached = training.newest_step
    training.kill_at_sight(lambda: training.newest_step > reached)
    training.kill_at_sight(training.is_writing_a_checkpoint)
    assert training.is_writing_a_checkpoint()
    assert not training.store.exists()
    assert main(training.arguments) == 0
    steps = start_steps(training.output)
    assert steps == sorted(steps)
    assert steps[-1] < RECIPE_STEPS
    assert training.parameters == parameters_of(finished)


def test_damaged_newest_checkpoint_costs_a_few_steps_and_changes_no_bit(
    finished: Finished, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    training = Training(finished, tmp_path)
    shutil.copytree(finished.store.parent / "run", training.run_dir)
    newest = training.run_dir / "checkpoints" / str(RECIPE_STEPS)
    file = max((each for each in newest.rglob("*") if each.is_file()), key=size_bytes)
    file.write_bytes(file.read_bytes()[:-1])
    assert main(training.arguments) == 0
    assert (
        f"{newest} is damaged ({file.relative_to(newest)} is not what was written)" in caplog.text
    )
    assert training.parameters == parameters_of(finished)


def size_bytes(file: Path) -> int:
    return file.stat().st_size


def test_failed_write_ends_the_run_with_a_clear_line_and_its_last_checkpoint(
    finished: Finished, tmp_path: Path
) -> None:
    training = Training(finished, tmp_path)
    with training.start(subprocess.PIPE) as process:
        await_sight(process, training.has_checkpoint)
        # No file may grow beyond 200 bytes: the kernel refuses as it does on a full disk.
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (200, 200))
        output, _ = process.communicate()
    assert process.returncode == 1
    # Whichever write came first is named; threads of tensorstore may add tracebacks of their own.
    message = rf"^trainer: .*{training.run_dir}"
    assert re.search(message, output.decode(), re.MULTILINE), output.decode()
    assert main(training.arguments) == 0
    assert training.parameters == parameters_of(finished)


@pytest.mark.parametrize("worker_processes", [0, 2])
def test_terminated_run_saves_exits_with_0_and_resumes(
    finished: Finished, tmp_path: Path, worker_processes: int
) -> None:
    training = Training(finished, tmp_path)
    training.arguments += ("--data.worker-processes", str(worker_processes))
    assert training.stop_after_a_checkpoint(signal.SIGTERM) == 0
    assert ": the same command goes on from here" in training.output
    stopped_at = int(training.output.split("stopped at step ")[1].split(":")[0])
    assert 0 < stopped_at < RECIPE_STEPS
    assert (training.run_dir / "checkpoints" / str(stopped_at)).is_dir()
    assert not training.store.exists()
    assert main((*training.arguments, "--data.worker-processes", "0")) == 0
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
    assert 0 < row["data_wait_share"] < 1


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
    assert refusal(arguments, capsys) == (
        f"trainer: {broken}: no readable image (bad data: 1; data.max_bad_share allows 0)"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data.path", "/nowhere"), "/nowhere: neither class folders (train/<class>/), sheets"),
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
    "error",
    [
        *(CheckpointError("nan"), TrainingDiverged("nan"), StoreError("nan")),
        *(OSError("nan"), ValueError("nan")),
    ],
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
