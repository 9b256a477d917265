"""What the pipeline makes of an encoded image before it is batched."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from bench.pictures import draw_photo, encode
from model_store.preprocess import Preprocessing, to_input
from service.batch import Alone, Answer, BatchOutput
from service.decoders import Decoders
from service.directory import Model, Submit
from service.errors import DeadlineExceeded, InternalError, UnsupportedImage
from service.images import decode
from service.inbox import Inbox
from service.metrics import Metrics
from service.pipeline import Computed, Pipeline
from service.runner import Row
from service.workers import Onward, Workers

PREPROCESSING = Preprocessing(resize="squash", resize_size=16, crop_size=14)


@pytest.mark.parametrize("size", [(128, 200), (127, 200)], ids=["large", "small"])
@pytest.mark.parametrize("scaling", [True, False])
def test_only_large_photos_are_decoded_reduced_and_only_if_set(
    size: tuple[int, int], *, scaling: bool
) -> None:
    data = encode(draw_photo(np.random.default_rng(0), size), "JPEG", quality=90)
    pipeline = Pipeline(Decoders(1), Metrics(), 10**6, scaling)
    found_HxWx3, decode_s = pipeline.decode_input(data, PREPROCESSING)
    whole_HxWx3 = to_input(decode(data, max_pixels=10**6), PREPROCESSING)
    difference = np.abs(found_HxWx3.astype(int) - whole_HxWx3.astype(int))
    assert (difference.max() > 0) == (scaling and size == (128, 200))
    assert difference.max() <= 6
    assert decode_s > 0


def model_of(submit: Submit, alone: Alone[np.ndarray, Row] | None = None) -> tuple[Model, Inbox]:
    """Return a model to whom all are admitted, and its box."""

    @asynccontextmanager
    async def admit(*_: object, **__: object) -> AsyncIterator[Submit]:
        yield submit

    model = SimpleNamespace(
        inbox=Inbox(),
        admit=admit,
        alone=lambda: None if alone is None else nullcontext(alone),
        manifest=SimpleNamespace(preprocessing=PREPROCESSING),
        labels={"model": "tiny", "version": "1"},
    )
    return cast("Model", model), model.inbox


def photo() -> bytes:
    return encode(draw_photo(np.random.default_rng(0), (20, 30)), "JPEG", quality=90)


def test_a_decoded_image_lies_in_the_model_s_box_and_its_time_there_is_in_the_queue() -> None:
    answer = Answer(cast("Row", "row"), queue_s=0.0, device_s=0.1, batch_images=1, bucket=1)

    async def submit(_: np.ndarray, __: float) -> Answer[Row]:
        return answer

    async def main() -> None:
        pipeline = Pipeline(Decoders(1), Metrics(), 10**6, decode_scaling=False)
        model, inbox = model_of(submit)
        inbox.set_room(2)
        deadline = asyncio.get_running_loop().time() + 60
        asking = asyncio.create_task(pipeline.run(model, [photo()], deadline))
        while not inbox.awaited:  # noqa: ASYNC110 - a thread decodes
            await asyncio.sleep(0)
        seen_s = time.monotonic()
        assert not asking.done()
        assert pipeline.decoders.backlog_s == 0.0  # decoded, though the loop has not heard of it
        lay_s = time.monotonic() - seen_s
        inbox.empty()
        (computed,) = await asking
        assert isinstance(computed, Computed)
        assert computed.answer is answer
        assert computed.queue_s >= answer.queue_s + lay_s
        pipeline.decoders.close()

    asyncio.run(main())


async def never(_: np.ndarray, __: float) -> Answer[Row]:
    raise AssertionError("a lone image shall not be submitted")


def alone_on(
    device: Workers, work: Callable[[np.ndarray], BatchOutput[Row]]
) -> Alone[np.ndarray, Row]:
    return lambda image_HxWx3: Onward(device, lambda: work(image_HxWx3))


def test_a_lone_image_goes_from_its_decoder_to_the_device() -> None:
    seen: list[tuple[str, tuple[int, ...]]] = []
    row = Row(np.zeros(3), np.zeros(2))

    def work(image_HxWx3: np.ndarray) -> BatchOutput[Row]:
        seen.append((threading.current_thread().name, image_HxWx3.shape))
        return BatchOutput([row], device_s=1e-9, bucket=2)

    async def main() -> None:
        pipeline, device = (
            Pipeline(Decoders(1), Metrics(), 10**6, decode_scaling=False),
            Workers(1, "d"),
        )
        model, inbox = model_of(never, alone_on(device, work))
        inbox.set_room(2)  # where it must not lie
        deadline = asyncio.get_running_loop().time() + 60
        (computed,) = await pipeline.run(model, [photo()], deadline)
        assert isinstance(computed, Computed)
        assert computed.decode_s > 0
        assert computed.queue_s > 0
        assert computed.answer == Answer(row, computed.queue_s, 1e-9, batch_images=1, bucket=2)
        assert seen == [("d_0", (14, 14, 3))]
        pipeline.decoders.close()
        device.close()

    asyncio.run(main())


def test_a_lone_image_that_cannot_be_answered_says_why() -> None:
    def fail(_: np.ndarray) -> BatchOutput[Row]:
        raise InternalError("no")

    async def main() -> None:
        pipeline, device = (
            Pipeline(Decoders(1), Metrics(), 10**6, decode_scaling=False),
            Workers(1, "d"),
        )
        model, _ = model_of(never, alone_on(device, fail))
        now = asyncio.get_running_loop().time()
        for data, deadline, error in [
            (photo(), now + 60, InternalError),
            (b"no picture", now + 60, UnsupportedImage),
            (photo(), now - 1, DeadlineExceeded),
        ]:
            (outcome,) = await pipeline.run(model, [data], deadline)
            assert type(outcome) is error
        pipeline.decoders.close()
        device.close()

    asyncio.run(main())
