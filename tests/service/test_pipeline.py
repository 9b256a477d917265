"""What the pipeline makes of an encoded image before it is batched."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from bench.pictures import draw_photo, encode
from model_store.preprocess import Preprocessing, to_input
from service.batch import Answer
from service.decoders import Decoders
from service.directory import Model, Submit
from service.images import decode
from service.inbox import Inbox
from service.metrics import Metrics
from service.pipeline import Computed, Pipeline

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


def test_a_decoded_image_lies_in_the_model_s_box_and_its_time_there_is_in_the_queue() -> None:
    inbox, answer = (
        Inbox(),
        Answer(cast("Any", "row"), queue_s=0.0, device_s=0.1, batch_images=1, bucket=1),
    )

    @asynccontextmanager
    async def admit(*_: object, **__: object) -> AsyncIterator[Submit]:
        async def submit(_: np.ndarray, __: float) -> Answer[Any]:
            return answer

        yield submit

    manifest = SimpleNamespace(preprocessing=PREPROCESSING)
    labels = {"model": "tiny", "version": "1"}
    model = SimpleNamespace(inbox=inbox, admit=admit, manifest=manifest, labels=labels)
    photo = encode(draw_photo(np.random.default_rng(0), (20, 30)), "JPEG", quality=90)

    async def main() -> None:
        pipeline = Pipeline(Decoders(1), Metrics(), 10**6, decode_scaling=False)
        inbox.set_room(2)
        deadline = asyncio.get_running_loop().time() + 60
        asking = asyncio.create_task(pipeline.run(cast("Model", model), [photo], deadline))
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
