"""The dynamic micro-batcher: single images in, one answer each, computed in batches.

admit → submit → waiting → batch → runner (one running, one prefetched) → answer

The policy is work-conserving and has no wait timer: batches grow because the device is busy, so an
idle service answers at the speed of a single image and a loaded one fills its batches unasked.

- An idle device takes at once whatever waits.
- While a batch runs the next one stays open, since whatever still arrives rides in it for next to
  nothing. It is closed early only when it is full: then it is handed over as the one prefetched
  batch, to be prepared meanwhile. A partial batch is closed the moment the device frees. Images
  that come out of other threads lie in the `inbox` until then, or until they fill the next batch.
- Where one image is all there is, the thread that decodes it hands it to the runner by itself: see
  `alone`. To others it is a batch that runs. It is not dropped for a deadline that it will miss,
  only for one that has passed.
- How many go at once is decided by the measured latencies: the waiting are split into the batches
  that are done soonest, nine into eight and one if that beats a batch of sixteen, part empty. None
  lasts longer than suits its callers' patience: larger ones do more a second, smaller ones are
  sooner done.
- First in, first out. Who left, or is late, or cannot be answered in time any more, is dropped
  when the batch forms: nothing is computed for nobody. Where deadlines and speed conflict, the
  batch takes the size with which most images a second are answered in time: one that came last
  makes not many late, and one that is nearly late does not delay many behind it.
- The latencies were measured on an idle machine. What batches really take, beside decoding and
  other work, corrects every estimate while running.
- A runner's failure is its batch's alone. The reply travels with its entry, so no row reaches
  another's caller; a wrong number of rows is a failure, since no row is then known to be its own.

Durations are in seconds; instants and deadlines are the event loop's `time()`. Not thread-safe, but
for `inbox.put`.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import Context
from typing import Generic, TypeVar

from service import errors
from service.batch import FAILED, Alone, Answer, Batch, BatchOutput, BatchRunner, Entry, Lone
from service.deadlines import Deadlines
from service.inbox import Inbox
from service.pace import Pace

Item = TypeVar("Item")
Result = TypeVar("Result")

# What is added to an estimated wait for the estimate's error: nearly all who are admitted against a
# deadline shall meet it, and a full queue is as long as the deadlines allow anyway.
MARGIN = 0.4

_log = logging.getLogger(__name__)


class MicroBatcher(Generic[Item, Result]):
    """Gathers single images into batches for one model's runner."""

    def __init__(
        self,
        runner: BatchRunner[Item, Result],
        *,
        max_queue_images: int,
        other_backlog_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._runner = runner
        self._max_queue_images = max_queue_images  # bounds the places that `admit` gives
        self._other_backlog_s = other_backlog_s  # of other models on the same device
        self._places = 0  # images of the permits held now
        self._expected = 0  # of these, the images that no submit has brought yet
        self._submitted = 0  # images inside `submit` now
        self._waiting: list[Entry[Item, Result]] = []  # oldest first, with some who gave up
        self._live = 0  # those of them that did not, as far as they have noticed
        # The running one, then the prefetched.
        self._in_runner: list[Batch[Item, Result] | Lone[Item, Result]] = []
        self._lone: Lone[Item, Result] | None = None  # expected until it is seen in the runner
        self._outlasting: asyncio.Task[None] | None = None  # kept here: see `Batch.task`
        self._pace = Pace(runner)
        self._deadlines = Deadlines()
        self.inbox = Inbox()  # of what will be submitted
        self._draining = False
        self._drained = asyncio.Event()

    @property
    def queued_images(self) -> int:
        """Live images that are ready and not yet handed to the runner."""
        return self._live + self.inbox.awaited

    @property
    def backlog_s(self) -> float:
        """Estimated device seconds of this batcher's running, waiting and admitted work."""
        return self._backlog_s()

    def check(self, images: int, deadline: float | None, *, preparation_s: float = 0.0) -> None:
        """Raise what `admit` would raise now."""
        self._see_lone()
        if self._draining:
            raise errors.Draining("The server is shutting down.")
        if self._places + images > self._max_queue_images:
            retry_after_s = math.ceil(self._backlog_s() + self._other_backlog_s())
            raise errors.Overloaded("The queue is full.", retry_after_s=max(1, retry_after_s))
        self._pace.so_far = self._so_far()
        device_s = self._backlog_s(images + self._growth(images)) + self._other_backlog_s()
        ride_s = self._ride_s(images, busy=preparation_s > device_s)
        expected_s = max(device_s, preparation_s + ride_s)
        if deadline is not None and _now() + expected_s * (1 + MARGIN) >= deadline:
            raise errors.DeadlineUnreachable("The work ahead outlasts the deadline.")

    @contextmanager
    def admit(
        self, images: int, deadline: float | None, *, preparation_s: float = 0.0
    ) -> Iterator[None]:
        """Hold `images` places from before decoding until the request is answered.

        They are expected to be submitted in `preparation_s`.

        Raises `Draining` once `drain` began, `Overloaded` when the places do not suffice (and so
        always for more than `max_queue_images`), and `DeadlineUnreachable` when the backlog with
        these images at its end is not expected to be done before `deadline`.
        """
        self.check(images, deadline, preparation_s=preparation_s)
        self._hold(images)
        self._expected += images
        self._pace.expect(math.inf if deadline is None else deadline - _now())
        try:
            yield
        finally:
            self._hold(-images)
            # A permit does not know its images, so those that never came (undecodable, cancelled)
            # are forgotten by this bound: the expected have the places that the submitted leave.
            self._expected = max(0, min(self._expected, self._places - self._submitted))
            self._settle()

    def _hold(self, more_places: int) -> None:
        self._places += more_places
        self._pace.is_alone = self._places <= 1

    async def submit(self, item: Item, deadline: float | None = None) -> Answer[Result]:
        """Wait for the answer to one image. Cancelling the wait abandons the image.

        Raises `DeadlineExceeded` at the deadline, whatever the device does, or earlier when the
        batch forms and cannot meet it; `InternalError` when the runner failed on the batch;
        `Draining` after `drain` has ended (never under a permit).
        """
        if self._drained.is_set():
            raise errors.Draining("The server is shutting down.")
        loop = asyncio.get_running_loop()
        due = math.inf if deadline is None else deadline
        entry: Entry[Item, Result] = Entry(item, due, loop.time(), loop.create_future())
        self._waiting.append(entry)
        self._live += 1
        self._expected = max(0, self._expected - 1)
        self._submitted += 1
        # Next on the loop instead of now, so that images submitted together ride together.
        loop.call_soon(self._dispatch)
        try:
            return await self._deadlines.wait(entry.reply, due)
        except TimeoutError:
            raise errors.DeadlineExceeded("The deadline passed before the answer.") from None
        finally:
            self._submitted -= 1
            self._end_waiting(entry)

    def alone(self) -> AbstractContextManager[Alone[Item, Result]] | None:
        """Return how the image of the only permit may go to the runner without `submit`, or None.

        By the thread that decodes it, as soon as that is done: the event loop could only do the
        same, later. Whoever leaves the context without the runner's output lets the device go on.
        """
        return None if self._places != 1 or self._lone else self._run_alone()

    @contextmanager
    def _run_alone(self) -> Iterator[Alone[Item, Result]]:
        lone = self._lone = Lone(self._runner)
        try:
            yield lone.run
        finally:
            if lone.runs:  # it was left, but the device goes on
                self._outlasting = asyncio.create_task(self._outlast(lone), context=Context())
            else:
                self._end_lone(lone)

    def _see_lone(self) -> None:
        """Count the lone image as in the runner from now on, once a thread has handed it over."""
        lone = self._lone
        if lone is None or not lone.runs or lone in self._in_runner:
            return
        self._expected = max(0, self._expected - 1)
        lone.expected_s, lone.started = self._pace.batch_s(1), _now()
        lone.elsewhere_s = self._runner.elsewhere_s
        self._in_runner.append(lone)

    async def _outlast(self, lone: Lone[Item, Result]) -> None:
        try:
            await self._runner.rest()
        finally:
            self._end_lone(lone)

    def _end_lone(self, lone: Lone[Item, Result]) -> None:
        self._lone = None
        if lone in self._in_runner:
            self._leave_runner(lone)
        loop = asyncio.get_running_loop()
        if lone.device_s is not None:
            # Later: its caller is about to write his answer.
            loop.call_soon(self._pace.note, 1, lone.device_s)
        self._look_again()

    def _end_waiting(self, entry: Entry[Item, Result]) -> None:
        self._live -= entry.waits
        entry.waits = False

    def _dispatch(self) -> None:
        """Hand over what may go now: anything to an idle device, a full batch behind a busy one."""
        self._see_lone()
        while len(self._in_runner) < 2 and (entries := self._form()):
            expected_s = self._pace.batch_s(len(entries))
            batch = Batch(entries, expected_s, _now(), self._runner.elsewhere_s)
            self._in_runner.append(batch)
            # In an empty context: a batch belongs to no one request, nor do its log lines.
            batch.task = asyncio.create_task(self._run(batch), context=Context())
        self._set_room()
        self._settle()

    def _form(self) -> Sequence[Entry[Item, Result]]:
        """Take the next batch off the queue, dropping the dead; empty when none may close yet."""
        self._waiting = [entry for entry in self._waiting if not entry.reply.done()]
        if not self._waiting:
            return []
        size = self._pace.curve.largest if self._in_runner else self._best_size()
        in_time = self._in_time(size)
        if self._in_runner and len(in_time) < size:
            return []
        # A later batch ends later, so who is late here is late anywhere.
        for entry in set(self._waiting).difference(in_time):
            entry.fail(errors.DeadlineExceeded("The deadline could not be met any more."))
            self._end_waiting(entry)
        for entry in in_time[:size]:
            self._end_waiting(entry)
        self._waiting = in_time[size:]
        return in_time[:size]

    def _best_size(self) -> int:
        """Choose how many of the waiting the next batch takes: see the module's policy."""
        curve, waiting = self._pace.curve, len(self._waiting)
        planned, all_s = curve.first_batch(waiting), self._pace.seconds(waiting)
        if min(entry.deadline for entry in self._waiting) > _now() + self._in_runner_s() + all_s:
            return planned

        def worth(size: int) -> tuple[float, int]:
            in_time, first_s = self._in_time(size), self._pace.batch_s(size)
            end = _now() + self._in_runner_s() + first_s
            rest = in_time[size:]
            rest_s = self._pace.seconds(len(rest))
            later = sum(entry.deadline > end + rest_s for entry in rest)
            return (min(size, len(in_time)) + later) / (first_s + rest_s), -size

        return max({planned, *curve.latencies_s}, key=worth)

    def _in_time(self, size: int) -> list[Entry[Item, Result]]:
        """Those of the waiting whom a batch of `size`, handed over now, would answer in time."""
        # Without other models' backlog: to drop wants certainty, and the device may take us first.
        device_s = self._in_runner_s() + self._pace.batch_s(min(size, len(self._waiting)))
        end = _now() + device_s
        return [entry for entry in self._waiting if entry.deadline > end]

    async def _run(self, batch: Batch[Item, Result]) -> None:
        try:
            output = await self._computed(batch)
            batch.answer(output, _now())
        except (Exception, asyncio.CancelledError) as error:  # or the callers would hang
            _log.exception("A batch of %d images failed", len(batch.entries))
            for entry in batch.entries:
                entry.fail(errors.InternalError(FAILED), error)

    async def _computed(self, batch: Batch[Item, Result]) -> BatchOutput[Result]:
        """Return the runner's output, once the next batch is about to be formed."""
        try:
            output = await self._runner.run([entry.item for entry in batch.entries])
            self._pace.so_far = self._so_far()
            self._pace.note(len(batch.entries), self._took_s(batch))
            return output
        finally:
            self._leave_runner(batch)
            self._look_again()

    def _look_again(self) -> None:
        """Let those who lie in the box submit, on the loop's next turn, and dispatch after that."""
        self.inbox.empty()
        asyncio.get_running_loop().call_soon(self._dispatch)

    def _leave_runner(self, batch: Batch[Item, Result] | Lone[Item, Result]) -> None:
        running = self._in_runner[0]
        self._in_runner.remove(batch)
        self._pace.so_far = 0.0
        if batch is running and self._in_runner:
            following = self._in_runner[0]
            following.started, following.elsewhere_s = _now(), self._runner.elsewhere_s
        self._set_room()

    def _set_room(self) -> None:
        """Let prepared images lie until a batch ends, or until they fill the next one."""
        to_full = self._pace.curve.largest - len(self._waiting)
        # Three, where others came while the lone image was decoded.
        self.inbox.set_room((0, to_full, math.inf, math.inf)[len(self._in_runner)])

    def _took_s(self, batch: Batch[Item, Result] | Lone[Item, Result]) -> float:
        """Return the seconds since the device could turn to a batch, less those for other models.

        What passes between batches delays the queue too; the other models estimate their own.
        """
        return _now() - batch.started - (self._runner.elsewhere_s - batch.elsewhere_s)

    def _so_far(self) -> float:
        """Return what the running batch has taken, as a multiple of what was measured."""
        if not self._in_runner:
            return 0.0
        running = self._in_runner[0]
        return self._took_s(running) / self._runner.curve.latency_s(running.images)

    def _in_runner_s(self) -> float:
        if not self._in_runner:
            return 0.0
        running, *prefetched = self._in_runner
        left_s = max(0.0, running.started + running.expected_s - _now())
        return left_s + sum(batch.expected_s for batch in prefetched)

    def _ride_s(self, images: int, *, busy: bool) -> float:
        """Estimate the seconds of images from the end of their preparation to their answers.

        Where it is `busy` then, with what was prepared before them, they wait for one batch and
        ride in the next, each as large as the newest one.
        """
        if not (busy and self._in_runner):
            return self._pace.seconds(images)
        newest = self._in_runner[-1].images
        return self._pace.batch_s(newest) + self._pace.seconds(max(images, newest))

    def _growth(self, more_images: int) -> int:
        """Estimate how many later images will ride in the last batch of those now and these.

        As many as make it as large as the newest one in the runner, which grew while it waited.
        """
        if not self._in_runner:
            return 0
        last = (self._ahead + more_images - 1) % self._pace.curve.largest + 1
        return max(0, self._in_runner[-1].images - last)

    @property
    def _ahead(self) -> int:
        return self._live + self._expected

    def _backlog_s(self, more_images: int = 0) -> float:
        images = self._ahead + more_images
        return self._in_runner_s() + self._pace.seconds(images)

    async def drain(self) -> None:
        """Admit nothing more, and return when all that was accepted is answered. Idempotent."""
        self._draining = True
        self._settle()
        await self._drained.wait()

    def _settle(self) -> None:
        if self._draining and not (self._places or self._waiting or self._in_runner or self._lone):
            self._drained.set()


def _now() -> float:
    return asyncio.get_running_loop().time()
