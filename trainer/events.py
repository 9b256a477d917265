"""What TensorBoard shows of a run: scalars and images by step, in `<run_dir>/tensorboard`."""

import time
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import Self

import numpy as np
from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

from trainer.augment import augment_image
from trainer.data import DataError
from trainer.evaluation import Evaluation
from trainer.hosts import is_first
from trainer.optimiser import schedule
from trainer.pictures import stem_picture, tile
from trainer.run import TrainingRun
from trainer.step import StepReport

EXAMPLES = 64
SCALARS_EVERY_STEPS = 10
# What a killed process may lose of the curves.
FLUSH_S = 10


class RunEvents:
    """The events of a run, written by its first process; they begin with examples of images.

    A resumed run goes on at its step: TensorBoard drops what the process before it wrote of the
    steps that are now taken again.
    """

    def __init__(self, run: TrainingRun, *, every_steps: int = SCALARS_EVERY_STEPS) -> None:
        self._run, self._every_steps = run, every_steps
        first = run.done + 1
        # Names hold the time in seconds alone; the step keeps two quick starts apart.
        self._writer = SummaryWriter(
            str(run.config.run_dir / "tensorboard"),
            purge_step=first,
            flush_secs=FLUSH_S,
            filename_suffix=f".{first:010d}",
            write_to_disk=is_first(),
        )
        self._image("train/examples", training_examples(run), first)
        self._counted_from(run.done)

    def step(self, report: StepReport) -> None:
        """Write the scalars of the step that was just taken, if it is one of every N."""
        run = self._run
        self._waited_s += run.step_time.data_wait_s
        if run.done % self._every_steps:
            return
        for name, value in report._asdict().items():
            self._scalar(f"train/{name}", float(value))
        share = schedule(run.config.optimiser, run.total_steps)(run.done - 1)
        self._scalar("train/learning_rate", run.config.optimiser.learning_rate * float(share))
        images = (run.done - self._counted_step) * run.config.batch_size
        seconds = time.monotonic() - self._counted_s
        self._scalar("train/images_per_second", images / seconds)
        self._scalar("train/data_wait_share", self._waited_s / seconds)
        self._counted_from(run.done)

    def evaluation(self, result: Evaluation) -> None:
        """Write the measures and the stem's filters of now."""
        for name, value in asdict(result).items():
            if isinstance(value, float):
                self._scalar(f"test/{name}", value)
        kernel = self._run.parameters()["stem/kernel"]
        self._image("weights/stem", stem_picture(kernel), self._run.done)
        # The time of an evaluation is none of the steps'.
        self._counted_from(self._run.done)

    def _counted_from(self, step: int) -> None:
        self._counted_step, self._counted_s = step, time.monotonic()
        self._waited_s = 0.0

    def _scalar(self, tag: str, value: float) -> None:
        self._writer.add_scalar(tag, value, self._run.done)

    def _image(self, tag: str, pixels_HxWx3: np.ndarray, step: int) -> None:
        self._writer.add_image(tag, pixels_HxWx3, step, dataformats="HWC")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._writer.close()
        except OSError as refused:
            # A disk that is full stopped the run before: that error says which checkpoint is kept.
            if error is None:
                raise OSError(refused.errno, refused.strerror, self._writer.logdir) from refused


def training_examples(run: TrainingRun) -> np.ndarray:
    """Draw training images and change them as those of the next step are, before any mixup.

    Returns:
        uint8 [height, width, 3], a grid of up to 64 images.
    """
    config, data = run.config, run.train_set
    rng = np.random.default_rng((config.seed, run.done))
    closing = run.done >= config.closing_step(run.total_steps)
    augment = config.augment.closing() if closing else config.augment
    images = []
    for index in rng.permutation(len(data))[:EXAMPLES]:
        # A bad picture is reported when the training meets it.
        with suppress(DataError):
            images.append(augment_image(data[index][0], config.preprocessing, augment, rng))
    return tile(np.stack(images))
