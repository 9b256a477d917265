"""From encoded images to answers: admit, decode off the event loop, batch, one outcome each."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from model_store.preprocess import Preprocessing, reduction, to_input
from service.batch import Answer
from service.decoders import Decoded, Decoders
from service.directory import Model, Submit
from service.errors import DeadlineExceeded, ServiceError
from service.images import decode_reduced, whole
from service.metrics import RequestMetrics
from service.runner import Row


class Computed(NamedTuple):
    """One image's answer, and the seconds that it spent before the device turned to it."""

    answer: Answer[Row]
    decode_s: float
    queue_s: float  # decoded already

    @property
    def stages_s(self) -> dict[str, float]:
        """The seconds of each stage."""
        return {"decode": self.decode_s, "queue": self.queue_s, "device": self.answer.device_s}


Outcome = Computed | ServiceError


@dataclass(frozen=True)
class Pipeline:
    """The way of images through decoder threads and a model's batcher."""

    decoders: Decoders
    metrics: RequestMetrics
    max_image_pixels: int
    decode_scaling: bool

    async def run(
        self, model: Model, images: Sequence[bytes | ServiceError], deadline: float
    ) -> list[Outcome]:
        """Return one outcome for each image, in order; one's failure never touches another.

        `deadline` is on the event loop's clock, in seconds.

        Raises:
            ServiceError: the request as a whole is not admitted (overload, draining, deadline).
        """
        preparation_s = self.decoders.backlog_s
        admitted = model.admit(len(images), deadline, preparation_s=preparation_s)
        async with admitted as submit:
            outcomes = [self._outcome(model, submit, image, deadline) for image in images]
            if len(outcomes) == 1:  # the usual request, which needs no task of its own
                return [await outcomes[0]]
            return await asyncio.gather(*outcomes)

    async def refuse_early(self, model: Model, deadline: float) -> None:
        """Refuse a request that not even one image of would be admitted.

        Under overload, reading what will be refused takes time from what is not.

        Raises:
            ServiceError: as `run`.
        """
        async with model.admit(1, deadline, preparation_s=self.decoders.backlog_s):
            pass

    async def _outcome(
        self, model: Model, submit: Submit, image: bytes | ServiceError, deadline: float
    ) -> Outcome:
        if isinstance(image, ServiceError):
            return image
        try:
            decoded = await self._decode(image, model, deadline)
            lain_s = time.monotonic() - decoded.done_s
            answer = await submit(decoded.value, deadline)
        except ServiceError as error:
            return error
        computed = Computed(answer, decoded.decode_s, lain_s + answer.queue_s)
        self._observe(model, computed)
        return computed

    async def _decode(self, data: bytes, model: Model, deadline: float) -> Decoded[np.ndarray]:
        decode = partial(self.decode_input, data, model.manifest.preprocessing)
        try:
            return await self.decoders.run(decode, model.inbox, deadline)
        except TimeoutError:
            # It waited for a thread; or lies in the box, and waited for the device.
            raise DeadlineExceeded("The deadline passed before the image was computed.") from None

    def decode_input(self, data: bytes, preprocessing: Preprocessing) -> tuple[np.ndarray, float]:
        """Decode and resize in a worker thread; return uint8 [H, W, 3] and the seconds it took."""
        began_s = time.perf_counter()
        allowed = partial(reduction, preprocessing=preprocessing)
        picture = decode_reduced(
            data,
            max_pixels=self.max_image_pixels,
            reduction=allowed if self.decode_scaling else whole,
        )
        pixels_HxWx3 = to_input(picture.image, preprocessing, box=picture.box)
        return pixels_HxWx3, time.perf_counter() - began_s

    def _observe(self, model: Model, done: Computed) -> None:
        for stage, seconds in done.stages_s.items():
            self.metrics.stage_duration_s.labels(**model.labels, stage=stage).observe(seconds)
