"""What a person sees of a running training: a bar with loss, rate and ETA, and a line an epoch."""

import math
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SMOOTHING = 0.98


class TrainingProgress:
    """A progress bar over the steps of a run: smoothed loss, images per second, data wait.

    Where the output is no terminal the bar is off, and `line` alone writes.
    """

    def __init__(self, *, done: int, total: int, batch_size: int, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn(
                "loss {task.fields[loss]:.3f}  {task.fields[rate]:.0f} images/s  "
                "data wait {task.fields[wait]:.0%}"
            ),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(
            "train", total=total, completed=done, loss=math.nan, rate=0, wait=0
        )
        self._batch_size = batch_size
        self._steps, self._started_s = 0, time.monotonic()
        self._loss = 0.0
        self._step_s = self._data_wait_s = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def advance(self, loss: float, *, step_s: float, data_wait_s: float) -> None:
        """Count one step with this loss, which took so long and waited so long for its batch."""
        self._steps += 1
        self._loss = SMOOTHING * self._loss + (1 - SMOOTHING) * loss
        self._step_s += step_s
        self._data_wait_s += data_wait_s
        self._bar.update(
            self._task,
            advance=1,
            loss=self.loss,
            rate=self.images_per_second,
            wait=self.data_wait_share,
        )

    @property
    def loss(self) -> float:
        """The loss, smoothed over about the last fifty steps."""
        return self._loss / (1 - SMOOTHING**self._steps) if self._steps else math.nan

    @property
    def images_per_second(self) -> float:
        """Mean throughput since this process began to train."""
        seconds = time.monotonic() - self._started_s
        return self._steps * self._batch_size / seconds if seconds else 0.0

    @property
    def data_wait_share(self) -> float:
        """Share of the steps' time that they waited for data, since the last `line`."""
        return self._data_wait_s / self._step_s if self._step_s else 0.0

    def line(self, text: str) -> None:
        """Write a line above the bar, and begin to measure the data wait anew."""
        self._console.print(text, highlight=False, soft_wrap=True)
        self._step_s = self._data_wait_s = 0.0
