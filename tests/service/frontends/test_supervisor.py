"""Whoever ends is replaced, and a signal ends all in order."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image

from model_store.store import ModelStore
from tests.models import random_checkpoint
from tests.service.image_files import encoded
from tests.service.live import server_process

TIMEOUT_S = 120
IMAGE = encoded(Image.new("RGB", (3, 5), "orange"), "PNG")
ENGINE, FRONTEND = 0, 1  # in the order of their start


@dataclass(frozen=True)
class Family:
    """A supervisor and its processes."""

    supervisor: subprocess.Popen[bytes]
    url: str
    log: Path

    def members(self) -> list[int]:
        """Return the processes' ids, in the order of their start."""
        children = Path(f"/proc/{self.supervisor.pid}/task/{self.supervisor.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def classify(self) -> httpx.Response:
        """Ask over a connection of its own, so that any front end may answer."""
        return httpx.post(f"{self.url}/classify", content=IMAGE, timeout=60)


@contextmanager
def family(folder: Path, **settings: object) -> Iterator[Family]:
    store = ModelStore(str(folder / "store"))
    store.publish("tiny", random_checkpoint())
    given = {"store": store.root, "models": "tiny", "buckets": "1", "frontends": 2}
    with server_process(folder / "log", **(given | settings)) as (process, url):
        yield Family(process, url, folder / "log")


def eventually(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"


def test_a_front_end_that_ends_is_replaced_and_the_other_answers(tmp_path: Path) -> None:
    with family(tmp_path) as all_:
        before = all_.members()
        assert len(before) == 3
        os.kill(before[FRONTEND], signal.SIGKILL)
        # Nobody is refused or cut: those who connect now are accepted by who is there.
        assert {all_.classify().status_code for _ in range(20)} == {200}
        eventually(lambda: len(all_.members()) == 3)
        after = all_.members()
        assert set(before) - set(after) == {before[FRONTEND]}
        assert "frontend-0 has ended (SIGKILL): replacing it" in all_.log.read_text()


def test_an_engine_that_ends_is_replaced_and_callers_are_told_meanwhile(tmp_path: Path) -> None:
    with family(tmp_path) as all_, ThreadPoolExecutor(4) as pool:
        before = all_.members()

        def ask() -> set[int]:
            """Ask until the successor has answered: each call ends, with an answer or a reason."""
            statuses: list[int] = []

            def replaced() -> bool:
                answer = all_.classify()
                statuses.append(answer.status_code)
                if answer.status_code == 503:
                    assert answer.json()["code"] == "not_ready"
                return answer.status_code == 200 and 503 in statuses

            eventually(replaced)
            return set(statuses)

        asking = [pool.submit(ask) for _ in range(4)]
        os.kill(before[ENGINE], signal.SIGKILL)
        assert [each.result(TIMEOUT_S) for each in asking] == [{200, 503}] * 4
        after = all_.members()
        assert set(before) - set(after) == {before[ENGINE]}
        assert len(after) == 3
        assert httpx.get(f"{all_.url}/readyz").status_code == 200


def test_when_the_supervisor_is_killed_nobody_stays(tmp_path: Path) -> None:
    with family(tmp_path) as all_:
        members = all_.members()
        all_.supervisor.kill()
        all_.supervisor.wait()
        eventually(lambda: not any(_runs(pid) for pid in members))


def _runs(pid: int) -> bool:
    """Say whether it still runs; one that ended and was not asked about is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("taken", ["port", "admin_port"])
def test_a_taken_port_stops_the_start(taken: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        ports = {"port": 0, "admin_port": 0, taken: holder.getsockname()[1]}
        done = _start(**ports)
    assert done.returncode not in (0, -signal.SIGKILL)
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreadable_file_of_keys_stops_the_start_with_one_line(tmp_path: Path) -> None:
    done = _start(port=0, api_keys_file=tmp_path / "none")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "the file cannot be read" in done.stderr


def _start(**settings: object) -> subprocess.CompletedProcess[str]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "service", "serve", "--frontends", "2", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
