import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from loadtest.open_loop import main, run_closed_loop, run_open_loop
from loadtest.result import LoadResult
from loadtest.schedules import Schedule, constant
from tests.loadtest.answering import Seen, answer, answering, at_once

FEW = Schedule(np.array([0.0, 0.03, 0.05]), 0.06)


def test_a_stalled_server_does_not_stop_the_sending() -> None:
    async def run() -> LoadResult:
        everything = asyncio.Event()

        async def stalled(number: int) -> bytes:
            if number == len(FEW.arrivals_s) - 1:
                everything.set()
            await everything.wait()  # a generator that waits for an answer would never get here
            return answer()

        async with answering(stalled) as (target, _):
            return await run_open_loop(target, FEW, [target.request(b"x")], limit_s=0.04)

    result = asyncio.run(asyncio.wait_for(run(), 20))
    assert result.statuses == {"200": 3}
    # The first was answered after the last had arrived, 50 ms later.
    assert result.latency_ms.largest is not None
    assert result.latency_ms.largest >= 50
    assert result.late >= 1


def test_waiting_for_the_generator_counts() -> None:
    async def run() -> LoadResult:
        async def first_blocks(number: int) -> bytes:
            if number == 0:
                # As another program on the generator's core would: the whole loop stands still.
                threading.Event().wait(0.5)
            return answer()

        async with answering(first_blocks) as (target, _):
            schedule = Schedule(np.array([0.0, 0.4]), 0.5)
            return await run_open_loop(target, schedule, [target.request(b"x")])

    result = asyncio.run(asyncio.wait_for(run(), 20))
    # The arrival at 0.4 s cannot be sent before 0.5 s.
    assert result.generator.worst_lag_ms >= 99
    assert result.latency_ms.p50 is not None
    assert result.latency_ms.p50 >= 99


def test_requests_are_sent_in_turn() -> None:
    async def run() -> Seen:
        async with answering() as (target, seen):
            requests = [target.request(body) for body in (b"a", b"bc")]
            await run_open_loop(target, constant(100, 0.05), requests)
            return seen

    assert sorted(asyncio.run(asyncio.wait_for(run(), 20)).bodies) == [b"a"] * 3 + [b"bc"] * 2


def test_what_is_never_answered_fails_in_the_end() -> None:
    async def run() -> LoadResult:
        async def second_never(number: int) -> bytes:
            if number == 1:
                await asyncio.Event().wait()
            return answer()

        async with answering(second_never) as (target, _):
            return await run_open_loop(target, FEW, [target.request(b"x")], drain_s=0.05)

    result = asyncio.run(asyncio.wait_for(run(), 20))
    assert result.statuses.get("200", 0) + result.failed == 3
    assert result.failures["unanswered"] >= 1


def test_an_empty_schedule_sends_nothing() -> None:
    async def run() -> LoadResult:
        async with answering() as (target, _):
            return await run_open_loop(target, Schedule(np.zeros(0), 1), [target.request(b"x")])

    assert asyncio.run(asyncio.wait_for(run(), 20)).requests == 0


def test_nothing_to_send_is_refused() -> None:
    async def run() -> None:
        async with answering() as (target, _):
            with pytest.raises(ValueError, match="requests is empty"):
                await run_open_loop(target, FEW, [])
            with pytest.raises(ValueError, match="requests is empty"):
                await run_closed_loop(target, [], clients=1, duration_s=1)

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_closed_loop_has_one_request_a_client_under_way() -> None:
    most, now = 0, 0

    async def counted(_: int) -> bytes:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return answer()

    async def run() -> tuple[LoadResult, Seen]:
        async with answering(counted) as (target, seen):
            request = target.request(b"x")
            return await run_closed_loop(target, [request], clients=3, duration_s=0.1), seen

    result, seen = asyncio.run(asyncio.wait_for(run(), 20))
    assert most == seen.connections == 3
    assert result.mode == "closed"
    assert result.answered == result.requests == len(seen.heads) >= 3


def test_a_closed_loop_goes_on_after_a_lost_connection() -> None:
    async def first_closes(number: int) -> bytes | None:
        return None if number == 0 else answer()

    async def run() -> LoadResult:
        async with answering(first_closes) as (target, _):
            request = target.request(b"x")
            return await run_closed_loop(target, [request], clients=1, duration_s=0.1)

    result = asyncio.run(asyncio.wait_for(run(), 20))
    assert result.failures == {"closed": 1}
    assert result.answered == result.requests - 1 >= 1


@pytest.fixture
def served() -> Iterator[tuple[str, Seen]]:
    """The URL of a server in a thread, for the command, which runs its own loop."""
    ready, found = threading.Event(), list[tuple[str, Seen]]()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with answering(at_once) as (target, seen):
            found.append((f"http://{target.authority}{target.path}", seen))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    yield found[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@pytest.fixture
def images(tmp_path: Path) -> str:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(bytes([number]) * (number + 1))
    return str(folder)


@pytest.mark.parametrize(
    "load",
    [
        ["--rate", "100", "--arrivals", "constant"],
        ["--rate", "100"],
        ["--rate", "100", "--arrivals", "bursty", "--on-s", "0.05", "--off-s", "0.05"],
        ["--clients", "2"],
    ],
)
def test_the_command_writes_its_result(
    served: tuple[str, Seen], images: str, tmp_path: Path, load: list[str]
) -> None:
    (url, seen), file = served, tmp_path / "out.json"
    common = ["--url", url, "--images", images, "--duration-s", "0.2", "--timeout-ms", "30000"]
    assert main([*common, *load, "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert result["answered"] == result["requests"] == len(seen.heads) > 0
    assert result["limit_ms"] == 30000
    assert all(head.startswith("POST /classify?top_k=3 ") for head in seen.heads)
    assert all("X-Request-Timeout-Ms: 30000\r\n" in head for head in seen.heads)
    assert set(seen.bodies) <= {b"\0", b"\1\1", b"\2\2\2"}


def test_the_command_replays_a_log(served: tuple[str, Seen], images: str, tmp_path: Path) -> None:
    (url, seen), log = served, tmp_path / "log"
    log.write_text(
        "2026-02-01 00:00:00,250 INFO mixer.request POST /classify 200 50.0 ms id=a\n"
        "2026-02-01 00:00:00,950 INFO mixer.request GET /embed 200 50.0 ms id=b\n"
    )
    options = ["--url", url, "--images", images, "--replay", str(log), "--speed", "10"]
    assert main(options) == 0
    assert [head.split()[1] for head in seen.heads] == ["/classify", "/embed"]


def test_the_command_says_what_is_wrong(
    images: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    here = "http://127.0.0.1:9/"
    for options, message in [
        (["--url", "http://192.0.2.7/", "--images", images], "--allow-remote"),
        (["--url", here, "--images", str(empty)], "holds no file"),
        (["--url", here, "--images", str(tmp_path / "absent")], "absent"),
        (["--url", here, "--images", images, "--rate", "0"], "rate_per_s is 0"),
        (["--url", here, "--images", images, "--replay", f"{images}/0.jpg"], "no line of"),
    ]:
        assert main(options) == 2
        assert message in capsys.readouterr().err
