"""Publish a finished run to the model store, with where it came from and what was measured."""

from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np

from model_store.assembly import make_checkpoint
from model_store.manifest import Provenance, TrainingSummary
from model_store.store import ModelStore, VersionRef
from trainer.config import all_settings
from trainer.environment import code_revision, machine, package_versions
from trainer.evaluation import Evaluation
from trainer.run import TrainingRun


def publish_run(
    run: TrainingRun, parameters: dict[str, np.ndarray], result: Evaluation, *, command: str
) -> VersionRef:
    """Publish the run's `parameters` of now, with golden images, to the configured store."""
    config = run.config
    if config.publish_to is None:
        msg = "publish_to names no store"
        raise ValueError(msg)
    checkpoint = make_checkpoint(
        config.model,
        config.preprocessing,
        labels=run.train_set.classes,
        arrays=parameters,
        provenance=_provenance(command),
        training=_summary(run, result),
    )
    return ModelStore(config.publish_to).publish(config.publish_as, checkpoint)


def _provenance(command: str) -> Provenance:
    return Provenance(
        created_at=datetime.now(UTC),
        source="trainer",
        command=command,
        code_revision=code_revision(),
        packages=package_versions(),
    )


def _summary(run: TrainingRun, result: Evaluation) -> TrainingSummary:
    measures = asdict(result)
    return TrainingSummary(
        dataset=run.config.data.path.name,
        dataset_sha256=run.train_set.digest(),
        seed=run.config.seed,
        epochs=run.epochs,
        steps=run.done,
        wall_time_s=round(run.elapsed_s, 1),
        machine=machine(),
        metrics={f"test_{name}": float(value) for name, value in measures.items()},
        config=all_settings(run.config),
    )
