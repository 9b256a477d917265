"""The runner: padding to buckets, rows in order, one device thread, measured latencies."""

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import numpy as np
import pytest

from service.curve import LatencyCurve
from service.errors import InternalError
from service.runner import Device, Runner
from service.settings import Precision
from service.workers import Workers

T = TypeVar("T")

IMAGE_SIZE = 3


class RecordingProgram:
    """Answers each image with its first pixel, and remembers what it was asked."""

    runtime = "recording"
    precision: Precision = "float32"
    pads = True
    device = "none"

    def __init__(self) -> None:
        self.compiled: list[int] = []
        self.batches: list[np.ndarray] = []
        self.threads: set[int] = set()

    def compile(self, bucket: int) -> None:
        self.compiled.append(bucket)

    def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert len(images_BxHxWx3) in self.compiled, "would compile after ready"
        self.threads.add(threading.get_ident())
        self.batches.append(images_BxHxWx3)
        first = images_BxHxWx3[:, 0, 0, :].astype(np.float32)
        return first, first[:, :2]


@pytest.fixture
def program() -> RecordingProgram:
    return RecordingProgram()


def image(value: int) -> np.ndarray:
    return np.full((IMAGE_SIZE, IMAGE_SIZE, 3), value, np.uint8)


def with_runner(program: RecordingProgram, use: Any) -> tuple[Any, list[tuple[int, int]]]:
    """Warm a runner up on its device thread, then await `use(runner)`."""
    observed: list[tuple[int, int]] = []

    async def run() -> Any:
        device = Device()
        curve = LatencyCurve({1: 2.0, 2: 3.0, 4: 5.0}, pads=program.pads)
        for size in curve.latencies_s:
            program.compile(size)
        runner = Runner(
            program, device, curve, IMAGE_SIZE, on_batch=lambda *seen: observed.append(seen)
        )
        try:
            return await use(runner)
        finally:
            device.close()

    return asyncio.run(run()), observed


def test_rows_keep_the_order_of_the_items(program: RecordingProgram) -> None:
    output, _ = with_runner(program, lambda runner: runner.run([image(v) for v in (7, 5, 9)]))
    assert [row.logits_N[0] for row in output.rows] == [7, 5, 9]
    assert [row.embedding_C.tolist() for row in output.rows] == [[7, 7], [5, 5], [9, 9]]


@pytest.mark.parametrize(("images", "bucket"), [(1, 1), (2, 2), (3, 4), (4, 4)])
def test_a_batch_is_padded_with_blanks_to_the_smallest_bucket(
    program: RecordingProgram, images: int, bucket: int
) -> None:
    output, observed = with_runner(program, lambda runner: runner.run([image(8)] * images))
    (batch,) = program.batches
    assert batch.shape == (bucket, IMAGE_SIZE, IMAGE_SIZE, 3)
    assert batch.dtype == np.uint8
    assert (batch[:images] == 8).all()
    assert not batch[images:].any()
    assert output.bucket == bucket
    assert observed == [(images, bucket)]


def test_all_calls_are_on_one_thread(program: RecordingProgram) -> None:
    async def many(runner: Runner) -> None:
        await asyncio.gather(*(runner.run([image(1)]) for _ in range(8)), runner.canary())

    with_runner(program, many)
    assert len(program.threads) == 1
    assert threading.get_ident() not in program.threads


def test_the_next_batch_is_stacked_while_the_device_is_busy() -> None:
    """Prefetching is worth something only if its preparation overlaps the running batch."""
    release, stacked = threading.Event(), threading.Event()

    class Blocking(RecordingProgram):
        def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            if images_BxHxWx3.any():
                assert release.wait(10)
            return super().__call__(images_BxHxWx3)

    class Watched(list[np.ndarray]):
        def __iter__(self) -> Iterator[np.ndarray]:
            stacked.set()
            return super().__iter__()

    async def overlap(runner: Runner) -> bool:
        first = asyncio.create_task(runner.run([image(1)]))
        second = asyncio.create_task(runner.run(Watched([image(2), image(3)])))
        prepared = await asyncio.to_thread(stacked.wait, 10)
        release.set()
        await asyncio.gather(first, second)
        return prepared

    prepared, _ = with_runner(Blocking(), overlap)
    assert prepared


def test_a_failing_program_fails_the_call_and_not_the_thread() -> None:
    class Superstitious(RecordingProgram):
        def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            if (images_BxHxWx3 == 13).any():
                raise ValueError("not with me")
            return super().__call__(images_BxHxWx3)

    async def fail_then_work(runner: Runner) -> Any:
        for items in ([image(13)], [image(5), image(13)]):
            with pytest.raises(ValueError, match="not with me"):
                await runner.run(items)
        with pytest.raises(ValueError, match="dimensionality"):
            await runner.run([np.zeros((1, 2, 3, 4), np.uint8)] * 2)
        return await runner.run([image(6)])

    output, _ = with_runner(Superstitious(), fail_then_work)
    assert output.rows[0].logits_N[0] == 6


async def alone(runner: Runner, item: np.ndarray) -> Any:
    """Run an image as a decoder thread has it run."""
    decoder = Workers(1, "decoder")
    try:
        return await decoder.run(lambda: runner.run_alone(item))
    finally:
        decoder.close()


def test_a_lone_image_is_run_as_a_batch_is_without_a_copy(program: RecordingProgram) -> None:
    """For a copy it would wait for one more thread to wake."""
    lone = image(4)

    async def both(runner: Runner) -> tuple[Any, Any]:
        return await runner.run([lone]), await alone(runner, lone)

    (batched, single), observed = with_runner(program, both)
    for output in (batched, single):
        assert output.bucket == 1
        assert [row.logits_N.tolist() for row in output.rows] == [[4, 4, 4]]
        assert output.device_s > 0
    assert all(np.shares_memory(batch, lone) for batch in program.batches)
    assert len(program.threads) == 1
    assert observed == [(1, 1)] * 2


def test_a_lone_image_is_padded_where_no_batch_is_so_small(program: RecordingProgram) -> None:
    observed: list[tuple[int, int]] = []

    async def main() -> Any:
        device = Device()
        program.compile(2)
        curve = LatencyCurve({2: 3.0}, pads=True)
        runner = Runner(
            program, device, curve, IMAGE_SIZE, on_batch=lambda *seen: observed.append(seen)
        )
        try:
            return await alone(runner, image(7))
        finally:
            device.close()

    output = asyncio.run(main())
    (batch,) = program.batches
    assert batch[:, 0, 0, 0].tolist() == [7, 0]
    assert ([row.logits_N[0] for row in output.rows], output.bucket) == ([7], 2)
    assert observed == [(1, 2)]


def test_a_lone_image_fails_as_one_of_a_batch_does(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(RecordingProgram):
        def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            raise ValueError("not today")

    async def fail(runner: Runner) -> None:
        with pytest.raises(InternalError, match="model failed on this image") as raised:
            await alone(runner, image(1))
        assert str(raised.value.__cause__) == "not today"
        assert runner._device.last_answer_s < 0
        await runner.rest()
        assert runner._device.last_answer_s < 0, "to rest is no sign of life"

    _, observed = with_runner(Failing(), fail)
    assert not observed
    assert "not today" in caplog.text


def test_the_device_rests_when_all_before_is_done(program: RecordingProgram) -> None:
    async def some_then_rest(runner: Runner) -> int:
        running = [asyncio.create_task(runner.run([image(1)])) for _ in range(3)]
        await asyncio.sleep(0)
        await runner.rest()
        done = len(program.batches)
        await asyncio.gather(*running)
        return done

    done, _ = with_runner(program, some_then_rest)
    assert done == 3


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def test_the_device_remembers_its_last_answer() -> None:
    async def answered() -> tuple[float, float]:
        device = Device()
        before = device.last_answer_s
        await device.call(lambda: None)
        device.close()
        return before, device.last_answer_s

    before, after = run(answered())
    assert after > before


def test_a_runner_tells_what_the_device_does_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, runners = 0.0, list[Runner]()
    during: list[tuple[float, float]] = []

    class Slow(RecordingProgram):
        def __call__(self, images_BxHxWx3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            nonlocal now_s
            now_s += len(images_BxHxWx3)
            during.append((runners[0].elsewhere_s, runners[1].elsewhere_s))
            return super().__call__(images_BxHxWx3)

    def made(device: Device) -> Runner:
        program, curve = Slow(), LatencyCurve({1: 1.0, 2: 2.0}, pads=True)
        for size in curve.latencies_s:
            program.compile(size)
        return Runner(program, device, curve, IMAGE_SIZE)

    async def main() -> None:
        device = Device()
        one, other = made(device), made(device)
        runners.extend([one, other])
        await one.run([image(1), image(2)])
        await other.run([image(3)])
        await other.run([image(4), image(5)])
        assert (one.elsewhere_s, other.elsewhere_s) == (3.0, 2.0)
        await other.canary()
        assert (one.elsewhere_s, other.elsewhere_s) == (4.0, 3.0)
        await alone(one, image(6))
        assert (one.elsewhere_s, other.elsewhere_s) == (4.0, 4.0)
        device.close()
        # While each call ran, too: who comes in its middle shall not be told of all of it later.
        assert during == [(0.0, 2.0), (1.0, 2.0), (3.0, 2.0), (4.0, 3.0), (4.0, 4.0)]

    monkeypatch.setattr(time, "perf_counter", lambda: now_s)
    asyncio.run(main())
