"""Publish a finished run to the model store, with where it came from and what was measured."""

import importlib.metadata
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from model_store.checkpoint import make_checkpoint
from model_store.manifest import Provenance, TrainingSummary
from model_store.store import ModelStore, VersionRef
from trainer.config import all_settings
from trainer.evaluation import Evaluation
from trainer.run import TrainingRun

RECORDED_PACKAGES = ("jax", "jaxlib", "flax", "optax", "grain", "numpy", "pillow")


def publish_run(run: TrainingRun, result: Evaluation, *, command: str) -> VersionRef:
    """Publish the parameters of now, with golden images, to the configured store."""
    config = run.config
    if config.publish_to is None:
        msg = "publish_to names no store"
        raise ValueError(msg)
    checkpoint = make_checkpoint(
        config.model,
        config.preprocessing,
        labels=run.train_set.classes,
        arrays=run.parameters(),
        provenance=_provenance(command),
        training=_summary(run, result),
    )
    return ModelStore(config.publish_to).publish(config.publish_as, checkpoint)


def _provenance(command: str) -> Provenance:
    return Provenance(
        created_at=datetime.now(UTC),
        source="trainer",
        command=command,
        code_revision=_code_revision(),
        packages={name: importlib.metadata.version(name) for name in RECORDED_PACKAGES},
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
        machine=_machine(),
        metrics={f"test_{name}": float(value) for name, value in measures.items()},
        config=all_settings(run.config),
    )


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.processor()


def _code_revision() -> str | None:
    """Return the git commit of this source tree, or None outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        done = subprocess.run(  # noqa: S603 - a constant command
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
