"""What a run leaves in its folder for people, beside checkpoints and events.

    run.json          command, settings and environment of the newest start
    log.jsonl         a line for each evaluation
    evaluation.json   the newest evaluation, with confusion matrix and reliability bins
    pictures/         the weights at the newest evaluation, as PNG files

The JSON files are replaced whole.
"""

import json
import logging
import shlex
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import JsonValue, TypeAdapter, ValidationError

from trainer.calibration import ReliabilityBin, reliability_bins
from trainer.config import TrainConfig
from trainer.environment import Environment, environment
from trainer.evaluation import Evaluation, compute_logits, measure
from trainer.files import write_atomically
from trainer.hosts import is_first
from trainer.measures import confusion_matrix
from trainer.pictures import write_pictures
from trainer.run import TrainingRun

START_FILE, LOG_FILE, EVALUATION_FILE = "run.json", "log.jsonl", "evaluation.json"
PICTURES_FOLDER = "pictures"
# A matrix of more classes would take longer than the evaluation, and nobody could read it.
MOST_CONFUSED_CLASSES = 1000

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class RunStart:
    """How and where a run was started, or resumed."""

    command: str
    started_at: datetime
    config: dict[str, JsonValue]
    """Every setting, folders of this machine included."""
    environment: Environment


@dataclass(frozen=True)
class RunEvaluation:
    """All that was measured at a step."""

    step: int
    classes: tuple[str, ...]
    measures: dict[str, float]
    reliability_bins: tuple[ReliabilityBin, ...]
    confusion: list[list[int]] | None
    """Images by true class (row) and predicted class (column); None with very many classes."""


@dataclass(frozen=True)
class LogRow:
    """A line of `log.jsonl`."""

    epoch: float
    step: int
    train_loss: float
    images_per_second: float
    elapsed_s: float
    test: dict[str, float]


def record_start(run: TrainingRun) -> None:
    """Write how this process was started."""
    start = RunStart(
        command=shlex.join(["python", *sys.orig_argv[1:]]),
        started_at=datetime.now(UTC),
        config=TypeAdapter(TrainConfig).dump_python(run.config, mode="json"),
        environment=environment(),
    )
    _write(run.config.run_dir / START_FILE, start)


def record_evaluation(run: TrainingRun) -> Evaluation:
    """Measure the parameters of now; write the measures and the pictures.

    Of several processes all measure and the first one writes.
    """
    outputs = compute_logits(run.model(), run.test_set, run.config.preprocessing)
    result, parameters = measure(*outputs), run.parameters()
    if is_first():
        _write_evaluation(run, outputs, result)
        write_pictures(parameters, run.config.run_dir / PICTURES_FOLDER)
    return result


def _write_evaluation(
    run: TrainingRun, outputs: tuple[np.ndarray, np.ndarray], result: Evaluation
) -> None:
    (logits_BxN, labels_B), classes = outputs, run.test_set.classes
    few = len(classes) <= MOST_CONFUSED_CLASSES
    found = RunEvaluation(
        step=run.done,
        classes=classes,
        measures=asdict(result),
        reliability_bins=reliability_bins(logits_BxN, labels_B),
        confusion=confusion_matrix(logits_BxN, labels_B).tolist() if few else None,
    )
    _write(run.config.run_dir / EVALUATION_FILE, found)


def read_start(run_dir: Path) -> RunStart | None:
    """Return how the run was started; None where no `run.json` says it.

    Raises:
        ValueError: the file is not what a training writes.
    """
    return _read(run_dir / START_FILE, TypeAdapter(RunStart))


def read_evaluation(run_dir: Path) -> RunEvaluation | None:
    """Return the newest evaluation; None where there is no `evaluation.json`.

    Raises:
        ValueError: the file is not what a training writes.
    """
    return _read(run_dir / EVALUATION_FILE, TypeAdapter(RunEvaluation))


def read_log(run_dir: Path) -> tuple[LogRow, ...]:
    """Return the rows of `log.jsonl` by step; a step that was taken again counts once, as last.

    A line that is no row, such as one that a full disk cut off, is logged and left out.
    """
    file, rows = run_dir / LOG_FILE, {}
    lines = file.read_text().splitlines() if file.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            row = TypeAdapter(LogRow).validate_json(line)
            rows[row.step] = row
        except ValidationError:
            logger.warning("%s, line %d: no row of a training log, left out", file, number)
    return tuple(rows[step] for step in sorted(rows))


def _write(file: Path, content: RunStart | RunEvaluation) -> None:
    values = TypeAdapter(type(content)).dump_python(content, mode="json")
    write_atomically(file, json.dumps(values, indent=1) + "\n")


def _read(file: Path, adapter: TypeAdapter[T]) -> T | None:
    if not file.exists():
        return None
    try:
        return adapter.validate_json(file.read_bytes())
    except ValidationError as error:
        msg = f"{file}: not what a training writes"
        raise ValueError(msg) from error
