"""Evaluate a published version: `python -m trainer.evaluate cifar10-mixer@1 <folder>`."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console

from model_store.manifest import PARAMETERS_FILE, Manifest
from model_store.mixer import load_mixer
from model_store.parameters import read_parameters
from model_store.store import ModelStore
from trainer.calibration import BINS, reliability_bins
from trainer.command import run_command
from trainer.data import DataError, DataSet, Split, load_dataset
from trainer.evaluation import compute_logits, measure
from trainer.evaluation_report import EvaluationReport, print_summary
from trainer.files import write_atomically
from trainer.measures import class_accuracies, confusion_matrix
from trainer.pipelines import PipelineName, choose_pipeline
from trainer.plots import confusion_figure, reliability_figure, svg
from trainer.real_labels import read_real_labels, real_accuracy


@dataclass(frozen=True)
class EvaluateConfig:
    """What to evaluate, and where to write the results."""

    model: tyro.conf.Positional[str]
    """Reference in the store, such as cifar10-mixer@1."""
    data: tyro.conf.Positional[Path]
    """Folder of the data set."""
    store: str = "model_store/builtin"
    """Root of the model store, a path or URL."""
    split: Split = "test"
    """Which images of the data set."""
    max_bad_share: float = 0.0
    """Share of the images that may be bad before the evaluation stops; they are left out."""
    pipeline: PipelineName = "published"
    """How images become inputs: as the version was published, or as the paper's pipeline (i),
    resize-crop, or (ii), resmall-crop."""
    calibration_bins: int = BINS
    """Equal-width bins of confidence."""
    real: Path | None = None
    """JSON list with a list of class numbers for each image, in the order of the data set: with
    class folders that is by class name, then by file name."""
    json: Path | None = None
    """File for everything measured."""
    reliability: Path | None = None
    """SVG file for the reliability diagram."""
    confusion: Path | None = None
    """SVG file for the confusion matrix."""


def evaluate_version(config: EvaluateConfig) -> EvaluationReport:
    """Run the version over the data and measure.

    Raises:
        DataError: data or ReaL labels that cannot be read, or are not of the model's classes.
        StoreError: no such version, or not as it was published.
        ValueError: fewer than one calibration bin.
    """
    root = ModelStore(config.store)
    version = root.resolve(config.model)
    folder, manifest = root.open(version), root.manifest(version)
    data = load_dataset(config.data, config.split, max_bad_share=config.max_bad_share)
    _check_classes(manifest, data, config.data)
    mixer = load_mixer(manifest.architecture, read_parameters(folder / PARAMETERS_FILE))
    real_BxN = _real_labels(config, data)
    preprocessing = choose_pipeline(config.pipeline, manifest.preprocessing)
    logits_BxN, labels_B = compute_logits(mixer, data, preprocessing)
    if real_BxN is not None and len(labels_B) != len(data):
        msg = f"{config.data}: ReaL labels need every image, {len(data) - len(labels_B)} are bad"
        raise DataError(msg)
    confusion_NxN = confusion_matrix(logits_BxN, labels_B)
    return EvaluationReport(
        version=str(version),
        split=config.split,
        pipeline=config.pipeline,
        preprocessing=preprocessing,
        measures=measure(logits_BxN, labels_B, config.calibration_bins),
        reliability_bins=reliability_bins(logits_BxN, labels_B, config.calibration_bins),
        classes=data.classes,
        class_accuracies=class_accuracies(confusion_NxN).tolist(),
        confusion=confusion_NxN.tolist(),
        real=None if real_BxN is None else real_accuracy(logits_BxN, real_BxN),
    )


def _check_classes(manifest: Manifest, data: DataSet, path: Path) -> None:
    """Refuse data whose class numbers mean something else than the model's."""
    found, expected = len(data.classes), manifest.architecture.num_classes
    if found != expected or manifest.labels not in ((), data.classes):
        msg = f"{path}: its {found} classes are not the {expected} that the model was trained on"
        raise DataError(msg)


def _real_labels(config: EvaluateConfig, data: DataSet) -> np.ndarray | None:
    if config.real is None:
        return None
    return read_real_labels(config.real, images=len(data), classes=len(data.classes))


def write_files(report: EvaluationReport, config: EvaluateConfig) -> None:
    """Write the files that were asked for, each whole or not at all."""
    if config.json is not None:
        write_atomically(config.json, report.to_json())
    if config.reliability is not None:
        write_atomically(config.reliability, svg(reliability_figure(report.reliability_bins)))
    if config.confusion is not None:
        figure = confusion_figure(np.array(report.confusion), report.classes)
        write_atomically(config.confusion, svg(figure))


def _check(config: EvaluateConfig) -> None:
    """Refuse now what would lose the results at the end."""
    if config.calibration_bins < 1:
        msg = f"calibration_bins is {config.calibration_bins}: at least 1 is needed"
        raise ValueError(msg)
    for file in (config.json, config.reliability, config.confusion):
        if file is not None and (file.is_dir() or not file.parent.is_dir()):
            msg = f"{file}: no file can be written there"
            raise ValueError(msg)


def main() -> int:
    """Run the command line; return its exit code."""
    config = tyro.cli(EvaluateConfig, description=__doc__)

    def work(console: Console) -> None:
        _check(config)
        report = evaluate_version(config)
        print_summary(report, console)
        write_files(report, config)

    return run_command(work)


if __name__ == "__main__":
    sys.exit(main())
