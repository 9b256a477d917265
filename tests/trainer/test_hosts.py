"""Two real processes on loopback that train as one."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from model_store.manifest import PARAMETERS_FILE
from tests.trainer.conftest import MODEL_NAME, Finished
from tests.trainer.tiny import command_line
from trainer import train
from trainer.config import HostsConfig
from trainer.hosts import any_process, is_first, join

REPOSITORY = Path(__file__).parents[2]


def arguments(finished: Finished, root: Path, *more: str) -> list[str]:
    """The tiny recipe for ten steps, with everything of its own in `root`."""
    return [
        *finished.arguments,
        *("--run-dir", str(root / "run"), "--publish-to", str(root / "store")),
        *("--steps", "10", *more),
    ]


def start_both(run: list[str]) -> list["subprocess.Popen[str]"]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "trainer.train", *run),
                *("--hosts.coordinator", f"127.0.0.1:{port}"),
                *("--hosts.processes", "2", "--hosts.process", str(process)),
            ],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for process in range(2)
    ]


def published(root: Path) -> dict[str, np.ndarray]:
    return load_file(root / "store" / MODEL_NAME / "1" / PARAMETERS_FILE)


@pytest.mark.parametrize("sharding", ["replicated", "fully_sharded"])
def test_two_processes_train_what_one_does(
    finished: Finished, tmp_path: Path, sharding: str
) -> None:
    more = ("--compute.sharding", sharding, "--checkpoint-every-steps", "5")
    processes = start_both(arguments(finished, tmp_path / "two", *more))
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert f"published {MODEL_NAME}@1" in outputs[0]
    assert "published" not in outputs[1]
    with command_line(*arguments(finished, tmp_path / "one", *more)):
        assert train.main() == 0
    one, two = published(tmp_path / "one"), published(tmp_path / "two")
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, rtol=0.02, atol=2e-3, err_msg=name)


def test_sigterm_of_one_process_stops_both_at_the_same_step(
    finished: Finished, tmp_path: Path
) -> None:
    run = arguments(finished, tmp_path, "--steps", "100000", "--checkpoint-every-steps", "1")
    processes = start_both(run)
    _, second = processes
    assert second.stdout is not None
    for line in second.stdout:  # printed once the run is set up, before the first step
        if "of 100000" in line:
            break
    second.send_signal(signal.SIGTERM)
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    stopped = [output.split("stopped at step ")[1].split(":")[0] for output in outputs]
    assert stopped[0] == stopped[1]
    assert (tmp_path / "run" / "checkpoints" / stopped[0]).is_dir()


def test_a_single_process_meets_nobody() -> None:
    join(HostsConfig())
    assert is_first()
    assert [any_process(flag) for flag in (False, True)] == [False, True]


@pytest.mark.parametrize("process", [-1, 2])
def test_process_number_out_of_range_is_refused(process: int) -> None:
    with pytest.raises(ValueError, match=f"hosts.process {process} is not in 0 to 1"):
        join(HostsConfig("127.0.0.1:1", processes=2, process=process))
