"""What both inference endpoints do with a request: find model and deadline, read, compute."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from starlette.requests import Request

from service.base64_text import decode_base64url
from service.departure import Departure
from service.directory import Model
from service.errors import BadRequest, DeadlineExceeded, UrlNotAllowed
from service.intake import LONG_BYTES, Intake, off_loop, read_images
from service.observe import Trace
from service.parameters import read_timeout_ms
from service.parts import Parts, parts_of
from service.pipeline import Computed, Outcome
from service.schemas import ModelQuery


class Head(NamedTuple):
    """What is known of a request before its body has come."""

    model: Model
    deadline: float  # on the event loop's clock
    judged: bool = False  # whether it was seen that there is room for an image


@dataclass(frozen=True)
class Inference:
    """One request's images, the model that shall see them, and the time until it must have."""

    request: Request
    parts: Parts
    model: Model
    intake: Intake
    deadline: float

    async def outcomes(self) -> list[Outcome]:
        """Compute all images, unless the caller leaves first.

        Raises:
            ServiceError: the request as a whole is refused.
            ClientDisconnect: the caller left; its images were dropped.
        """
        work = self.parts.pipeline.run(self.model, self.intake.images, self.deadline)
        departure: Departure = self.request.scope["state"]["departure"]
        outcomes = await departure.until(work)
        _record(self.request.state.trace, outcomes)
        return outcomes

    async def etag(self, *variant: str) -> str:
        """Return the strong entity tag of the answer: images, model version and its encoding."""
        contents = [
            image if isinstance(image, bytes) else image.code.encode()
            for image in self.intake.images
        ]
        names = (str(self.model.version), *variant)
        size_bytes = sum(map(len, contents))
        digest = await off_loop(
            self.parts.pipeline.decoders.workers, size_bytes, lambda: _digest(names, contents)
        )
        return f'"{digest[:32]}"'


async def read_inference(
    request: Request, query: ModelQuery, image: str | None = None
) -> Inference:
    """Read a request up to where its images are known; `image` is base64url from the query.

    Its model may leave with the loop's next turn: who goes on takes a lease of it first.

    Raises:
        ServiceError: no such model, a deadline that is none, or images that are too many, too
            large or missing.
    """
    parts = parts_of(request)
    head: Head = request.scope["state"].pop("head", None) or read_head(request, parts, query)
    try:
        async with asyncio.timeout_at(head.deadline):
            if not head.judged and has_long_body(request):
                await parts.pipeline.refuse_early(head.model, head.deadline)
            intake = await _read(request, parts, query.url, image)
    except TimeoutError:
        raise DeadlineExceeded("The deadline passed before the request was read.") from None
    # As it is now: a body that comes in slowly must not keep a version that has left.
    model = parts.engine.directory.find(query.model)
    return Inference(request, parts, model, intake, head.deadline)


def read_head(request: Request, parts: Parts, query: ModelQuery) -> Head:
    """Return which model shall see the images, and until when.

    Raises:
        ServiceError: no such model, or a deadline that is none.
    """
    timeout_ms = read_timeout_ms(request)
    model = parts.engine.directory.find(query.model)
    timeout_s = (timeout_ms or parts.settings.default_timeout_ms) / 1e3
    return Head(model, asyncio.get_running_loop().time() + timeout_s)


async def _read(request: Request, parts: Parts, url: str | None, image: str | None) -> Intake:
    others = (url is not None) + (image is not None)
    if others and others + _has_body(request) > 1:
        raise BadRequest("Give the image once: by url=, by image=, or in the body.")
    if url is not None:
        if parts.fetcher is None:
            raise UrlNotAllowed("Fetching by URL is off: this server lists no host for it.")
        return Intake([await parts.fetcher.fetch(url)], many=False)
    if image is not None:
        return Intake([decode_base64url(image)], many=False)
    settings = parts.settings
    return await read_images(
        request,
        max_body_bytes=settings.max_body_bytes,
        max_images=settings.max_images,
        threads=parts.pipeline.decoders.workers,
    )


def _has_body(request: Request) -> bool:
    headers = request.headers
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def has_long_body(request: Request) -> bool:
    """Tell whether to read the body takes longer than to see that it will be refused."""
    announced = request.headers.get("content-length", "0")[:18]  # the server has checked the digits
    return int(announced) >= LONG_BYTES or "transfer-encoding" in request.headers


def _digest(names: Sequence[str], contents: Sequence[bytes]) -> str:
    digest = hashlib.sha256("\n".join(names).encode())
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def _record(trace: Trace, outcomes: list[Outcome]) -> None:
    """Note where the time went; of several images, the slowest in each stage."""
    largest, stages_s = 0, trace.stages_s
    for done in outcomes:
        if not isinstance(done, Computed):
            continue
        answer = done.answer
        if answer.batch_images > largest:
            largest = answer.batch_images
            trace.batch = f"{largest}/{answer.bucket}"
        for stage, seconds in done.stages_s.items():
            stages_s[stage] = max(seconds, stages_s.get(stage, 0.0))
