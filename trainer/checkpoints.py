"""Checkpoints of a run: parameters, optimiser, position in the data, and time spent so far."""

from pathlib import Path
from typing import Any, NamedTuple

import grain
import orbax.checkpoint as ocp
from pydantic import JsonValue

from trainer.step import TrainState

KEPT_CHECKPOINTS = 2


class Progress(NamedTuple):
    """Where a run stands: the state after `state.step` steps, and seconds of training so far."""

    state: TrainState
    elapsed_s: float


class RunCheckpoints:
    """The newest checkpoints in `<run_dir>/checkpoints`, each written whole or not at all."""

    def __init__(self, run_dir: Path, settings: dict[str, JsonValue]) -> None:
        """Name the folder, and the settings that all checkpoints in it share."""
        self._run_dir, self._settings = run_dir, settings
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT_CHECKPOINTS, enable_async_checkpointing=False
        )
        self._manager = ocp.CheckpointManager((run_dir / "checkpoints").absolute(), options=options)

    def save(self, progress: Progress, batches: grain.DatasetIterator[Any]) -> None:
        """Write the run's state and the position of its data, once for each step."""
        step = int(progress.state.step)
        if step == self._manager.latest_step():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(progress.state._asdict()),
                run=ocp.args.JsonSave(
                    {"elapsed_s": progress.elapsed_s, "settings": self._settings}
                ),
                data=grain.checkpoint.CheckpointSave(batches),
            ),
        )

    def restore(self, initial: TrainState, batches: grain.DatasetIterator[Any]) -> Progress:
        """Return the newest checkpoint's progress, and move `batches` to where it was.

        Without a checkpoint the run starts at `initial`.

        Raises:
            ValueError: the checkpoint is of a run with other settings.
        """
        step = self._manager.latest_step()
        if step is None:
            return Progress(initial, 0.0)
        run = self._manager.restore(step, args=ocp.args.Composite(run=ocp.args.JsonRestore())).run
        self._check_settings(run.get("settings", {}))
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(initial._asdict()),
                data=grain.checkpoint.CheckpointRestore(batches),
            ),
        )
        return Progress(TrainState(**restored["state"]), run["elapsed_s"])

    def _check_settings(self, found: dict[str, JsonValue]) -> None:
        # A checkpoint of an older program may lack some settings, or have others.
        common = found.keys() & self._settings.keys()
        changed = sorted(name for name in common if self._settings[name] != found[name])
        if changed:
            msg = (
                f"{self._run_dir} holds a run with another {', '.join(changed)}: "
                "repeat its command, or choose another run_dir"
            )
            raise ValueError(msg)

    def close(self) -> None:
        """Finish pending writes."""
        self._manager.close()
