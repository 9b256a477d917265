"""Checkpoints of a run: parameters, optimiser, step, and time spent so far.

The position in the data is the step, since each step takes one batch, and so is the state of all
randomness: both derive from the seed and the step.
"""

import errno
import itertools
import logging
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import jax
import orbax.checkpoint as ocp
from pydantic import JsonValue

from trainer.digests import find_damage, write_digests
from trainer.step import TrainState

logger = logging.getLogger(__name__)

KEPT_CHECKPOINTS = 2
METADATA_BYTES = 1 << 20
"""Room for what a checkpoint holds beside its arrays."""


class CheckpointError(Exception):
    """A checkpoint cannot be written, or all those that there are are damaged."""


class Progress(NamedTuple):
    """Where a run stands: the state after `state.step` steps, and seconds of training so far."""

    state: TrainState
    elapsed_s: float


class RunCheckpoints:
    """The newest checkpoints in `<run_dir>/checkpoints`, each written whole or not at all.

    The digests of its files follow; a checkpoint without them is of a run killed in between, and
    is whole too.
    """

    def __init__(self, run_dir: Path, settings: dict[str, JsonValue]) -> None:
        """Name the folder, and the settings that all checkpoints in it share.

        Damaged checkpoints are moved to `<run_dir>/damaged`, which the log says.

        Raises:
            CheckpointError: all that there are are damaged; they stay where they are.
        """
        self._run_dir, self._settings = run_dir, settings
        self._folder = (run_dir / "checkpoints").absolute()
        _set_damaged_aside(self._folder, run_dir / "damaged")
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT_CHECKPOINTS,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def save(self, progress: Progress) -> None:
        """Write the run's state, once for each step.

        Raises:
            CheckpointError: it cannot be written; the one before it is kept.
        """
        step, last = int(progress.state.step), self._manager.latest_step()
        if step == last:
            return
        try:
            self._write(step, progress)
        except (OSError, ValueError) as error:  # tensorstore raises ValueError on a full disk
            reason = str(error).partition(" [tensorstore_spec=")[0]
            kept = "" if last is None else f", and step {last} is kept"
            msg = f"{self._folder}: step {step} cannot be written{kept}: {reason}"
            raise CheckpointError(msg) from error

    def _write(self, step: int, progress: Progress) -> None:
        self._check_space(progress.state)
        run = {"elapsed_s": progress.elapsed_s, "settings": self._settings}
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(progress.state._asdict()), run=ocp.args.JsonSave(run)
            ),
        )
        write_digests(self._folder / str(step))

    def _check_space(self, state: TrainState) -> None:
        # When space runs out midway, threads of tensorstore print a traceback for every array.
        needed_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + METADATA_BYTES
        free_bytes = shutil.disk_usage(self._folder).free
        if free_bytes < needed_bytes:
            reason = f"{needed_bytes:,} bytes are needed and {free_bytes:,} free"
            raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, {reason}")

    def restore(self, initial: TrainState) -> Progress:
        """Return the newest checkpoint's progress, or without one that of `initial`.

        Raises:
            ValueError: the checkpoint is of a run with other settings.
        """
        step = self._manager.latest_step()
        if step is None:
            return Progress(initial, 0.0)
        run = self._manager.restore(step, args=ocp.args.Composite(run=ocp.args.JsonRestore())).run
        self._check_settings(run["settings"])
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(state=ocp.args.StandardRestore(initial._asdict())),
        )
        return Progress(TrainState(**restored["state"]), run["elapsed_s"])

    def _check_settings(self, found: dict[str, JsonValue]) -> None:
        names = self._settings.keys() | found.keys()
        changed = sorted(
            name for name in names if self._settings.get(name, ...) != found.get(name, ...)
        )
        if changed:
            msg = (
                f"{self._run_dir} holds a run with another {', '.join(changed)}: "
                "repeat its command, or choose another run_dir"
            )
            raise ValueError(msg)

    def close(self) -> None:
        """Finish pending writes."""
        self._manager.close()


def _set_damaged_aside(folder: Path, aside: Path) -> None:
    checkpoints = [each for each in folder.glob("*") if each.name.isdigit()]
    damage = {each: found for each in checkpoints if (found := find_damage(each))}
    if damage and len(damage) == len(checkpoints):
        details = "; ".join(f"{each.name}: {found}" for each, found in damage.items())
        msg = f"{folder}: every checkpoint is damaged ({details}): choose another run_dir"
        raise CheckpointError(msg)
    for checkpoint, found in damage.items():
        target = _free_name(aside, checkpoint.name)
        logger.warning(
            "checkpoint %s is damaged (%s): moved to %s; the run goes on from the one before it",
            *(checkpoint, found, target),
        )
        aside.mkdir(exist_ok=True)
        checkpoint.rename(target)


def _free_name(folder: Path, name: str) -> Path:
    """Return a path in the folder that does not exist: `name`, or `name` and a number."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(path for each in names if not (path := folder / each).exists())
