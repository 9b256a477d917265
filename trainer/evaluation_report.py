"""All that was measured on a data set: as JSON for programs, and as a summary for people."""

from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from model_store.preprocess import Preprocessing
from trainer.calibration import ReliabilityBin
from trainer.data import Split
from trainer.evaluation import Evaluation
from trainer.pipelines import PipelineName
from trainer.real_labels import RealAccuracy

WORST_CLASSES = 5


@dataclass(frozen=True)
class EvaluationReport:
    """Everything measured on one version, and on what."""

    version: str
    split: Split
    pipeline: PipelineName
    preprocessing: Preprocessing
    measures: Evaluation
    reliability_bins: tuple[ReliabilityBin, ...]
    classes: tuple[str, ...]
    class_accuracies: list[float]
    """In the order of the classes; NaN, in JSON null, for a class without images."""
    confusion: list[list[int]]
    """Images by true class (row) and predicted class (column)."""
    real: RealAccuracy | None = None

    def to_json(self) -> str:
        """Return the report as one JSON object; values that are not finite become null."""
        return TypeAdapter(EvaluationReport).dump_json(self).decode() + "\n"


def print_summary(report: EvaluationReport, console: Console) -> None:
    """Print the measures and a table of the worst classes."""
    found, used = report.measures, report.preprocessing
    mean_confidence = sum(b.count * b.confidence for b in report.reliability_bins) / found.images
    lines = [
        f"{report.version}: accuracy {found.accuracy:.4f}, top-5 {found.top5_accuracy:.4f}, "
        f"loss {found.loss:.4f} on {found.images} images",
        f"calibration error {found.calibration_error:.4f}, mean confidence {mean_confidence:.4f}",
        f"{report.pipeline} pipeline: {used.resize} to {used.resize_size}, crop {used.crop_size}, "
        f"{used.filter}{'' if used.antialias else ' without antialias'}; {report.split} split",
    ]
    if report.real is not None:
        lines.append(
            f"ReaL accuracy {report.real.accuracy:.4f} "
            f"on {report.real.labelled_images} labelled images"
        )
    console.print("\n".join(lines))
    console.print(_worst_classes(report))


def _worst_classes(report: EvaluationReport) -> Table:
    """Return the classes of lowest accuracy below 1, and what each is most often taken for."""
    table = Table("worst classes", "images", "accuracy", "most often taken for")
    confusion_NxN = np.array(report.confusion)
    errors_NxN = confusion_NxN - np.diag(confusion_NxN.diagonal())
    accuracies_N = np.array(report.class_accuracies)
    worst = [row for row in np.argsort(accuracies_N, stable=True) if accuracies_N[row] < 1]
    for row in worst[:WORST_CLASSES]:
        images, column = confusion_NxN[row].sum(), errors_NxN[row].argmax()
        taken_for = f"{report.classes[column]} ({errors_NxN[row, column] / images:.1%})"
        cells = (report.classes[row], str(images), f"{accuracies_N[row]:.4f}", taken_for)
        # A class's name may look like rich's markup.
        table.add_row(*map(Text, cells))
    return table
