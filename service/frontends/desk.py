"""What the engine does for one front end, and forgets when it has gone."""

import asyncio
from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from contextlib import ExitStack
from typing import Any

import numpy as np

from service.batch import Answer
from service.engine import Engine
from service.errors import DeadlineExceeded, ServiceError
from service.frontends.arena import Mapping
from service.frontends.messages import (
    Admit,
    Admitted,
    Answered,
    Cancel,
    Draining,
    Expose,
    Exposed,
    LetGo,
    Message,
    Observe,
    Refused,
    Release,
    State,
    Submit,
)
from service.frontends.wire import Wire
from service.models import ServedModel
from service.runner import Row


class Desk:
    """What one front end has under way: its images, its permits, and the models it may use."""

    def __init__(
        self, engine: Engine, memory: Mapping, on_change: Callable[["Desk"], None]
    ) -> None:
        self.wire = Wire(self._on_message, self._on_lost)
        self.draining = False
        self.closed = False
        self._engine, self._memory, self._on_change = engine, memory, on_change
        self._leases: dict[int, tuple[ServedModel, ExitStack]] = {}
        self._permits: dict[int, tuple[ServedModel, ExitStack]] = {}
        self._answering: dict[int, asyncio.Task[None]] = {}
        self._handlers: dict[type[Message], Callable[[Any], None]] = {
            Admit: self._admit,
            Submit: self._submit,
            Cancel: self._cancel,
            Release: self._release,
            LetGo: self._let_go,
            Observe: self._observe,
            Draining: self._drain,
            Expose: self._expose,
        }

    def describe(self, keys: MappingOf[ServedModel, int]) -> list[dict[str, Any]]:
        """Return what the front end shall know of each model, and keep them for it from now on."""
        return [self._describe(model, key) for model, key in keys.items()]

    def tell(self, state: State) -> None:
        """Send the state."""
        self.wire.send(state)

    def _describe(self, model: ServedModel, key: int) -> dict[str, Any]:
        known = {"key": key, "name": model.version.model, "summary": model.summary().model_dump()}
        if key in self._leases:
            return known
        lease = ExitStack()
        lease.enter_context(model.lease())
        self._leases[key] = (model, lease)
        return known | {"manifest": model.manifest.model_dump(mode="json")}

    def _on_message(self, message: Message) -> None:
        self._handlers[type(message)](message)

    def _submit(self, message: Submit) -> None:
        self._answering[message.call] = asyncio.create_task(self._compute(message))

    def _cancel(self, message: Cancel) -> None:
        if message.call in self._answering:  # or it was answered meanwhile
            self._answering[message.call].cancel()

    def _release(self, message: Release) -> None:
        self._permits.pop(message.permit)[1].close()

    def _let_go(self, message: LetGo) -> None:
        self._leases.pop(message.model)[1].close()

    def _drain(self, _: Draining) -> None:
        self.draining = True
        self._on_change(self)

    def _expose(self, message: Expose) -> None:
        self._answering[message.call] = asyncio.create_task(self._send_metrics(message))

    def _admit(self, message: Admit) -> None:
        model, permit = self._leases[message.model][0], ExitStack()
        try:
            permit.enter_context(
                model.batcher.admit(
                    message.images, message.deadline, preparation_s=message.preparation_s
                )
            )
        except ServiceError as error:
            self.wire.send(Refused.of(message.call, error))
            return
        self._permits[message.call] = (model, permit)
        self.wire.send(Admitted(message.call))

    async def _compute(self, message: Submit) -> None:
        model = self._permits[message.permit][0]
        size = model.manifest.architecture.image_size
        pixels_HxWx3 = self._memory.array(message.offset, (size, size, 3), np.uint8)
        try:
            answer = await model.batcher.submit(pixels_HxWx3, message.deadline)
        except ServiceError as error:
            self.wire.send(Refused.of(message.call, error))
        except asyncio.CancelledError:
            self.wire.send(Refused.of(message.call, DeadlineExceeded("Nobody waits.")))
        else:
            self._write(message.offset, answer.result)
            self.wire.send(_answered(message.call, answer))
        finally:
            del self._answering[message.call]

    def _write(self, offset: int, row: Row) -> None:
        classes = len(row.logits_N)
        answer = self._memory.array(offset, (classes + len(row.embedding_C),), np.float32)
        answer[:classes] = row.logits_N
        answer[classes:] = row.embedding_C

    async def _send_metrics(self, message: Expose) -> None:
        try:
            text, content_type = await self._engine.exposition(message.accept)
            self.wire.send(Exposed(message.call, text.decode(), content_type))
        finally:
            del self._answering[message.call]

    def _observe(self, message: Observe) -> None:
        for name, labels, value in message.observations:
            metric = getattr(self._engine.metrics, name).labels(**labels)
            (metric.observe if hasattr(metric, "observe") else metric.inc)(value)

    def _on_lost(self) -> None:
        """Drop what a front end has left behind that is gone: nobody waits for it any more."""
        for task in self._answering.values():
            task.cancel()
        for _, held in (*self._permits.values(), *self._leases.values()):
            held.close()
        self._permits.clear()
        self._leases.clear()
        self._memory.close()
        self.closed = True
        self._on_change(self)


def _answered(call: int, answer: Answer[Row]) -> Answered:
    return Answered(call, answer.queue_s, answer.device_s, answer.batch_images, answer.bucket)
