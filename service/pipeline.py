"""From encoded images to answers: admit, decode off the event loop, batch, one outcome each."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from model_store.preprocess import Preprocessing, reduction, to_input
from service.batch import Alone, Answer
from service.decoders import Decoders
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
            if (alone := model.alone()) is None:
                computed = await self._batched(image, model, submit, deadline)
            else:
                computed = await self._alone(image, model, alone, deadline)
        except ServiceError as error:
            return error
        except TimeoutError:
            # It waited for a thread; or lay decoded in the box, and waited for the device.
            return DeadlineExceeded("The deadline passed before the image was computed.")
        self.observe(model, computed.stages_s)
        return computed

    async def _batched(
        self, image: bytes, model: Model, submit: Submit, deadline: float
    ) -> Computed:
        decode = partial(self.decode_input, image, model.manifest.preprocessing)
        decoded = await self.decoders.run(decode, model.inbox, deadline)
        lain_s = time.monotonic() - decoded.done_s
        answer = await submit(decoded.value, deadline)
        return Computed(answer, decoded.decode_s, lain_s + answer.queue_s)

    async def _alone(
        self,
        image: bytes,
        model: Model,
        alone: AbstractContextManager[Alone[np.ndarray, Row]],
        deadline: float,
    ) -> Computed:
        decode = partial(self.decode_input, image, model.manifest.preprocessing)
        with alone as onward:
            output, decode_s, done_s = await self.decoders.run_onward(decode, onward, deadline)
        queue_s = max(0.0, time.monotonic() - done_s - output.device_s)
        answer = Answer(output.rows[0], queue_s, output.device_s, 1, output.bucket)
        return Computed(answer, decode_s, queue_s)

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

    def observe(self, model: Model, stages_s: Mapping[str, float]) -> None:
        """Count what stages took, on the loop's next turn: by then the answer is on its way."""
        asyncio.get_running_loop().call_soon(self._observe, model.labels, stages_s)

    def _observe(self, labels: dict[str, str], stages_s: Mapping[str, float]) -> None:
        for stage, seconds in stages_s.items():
            self.metrics.stage_duration_s.labels(**labels, stage=stage).observe(seconds)
