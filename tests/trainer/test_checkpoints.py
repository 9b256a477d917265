from pathlib import Path
from typing import Any

import grain
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import JsonValue

from trainer.checkpoints import KEPT_CHECKPOINTS, Progress, RunCheckpoints
from trainer.step import TrainState

SETTINGS: dict[str, JsonValue] = {"seed": 3, "optimiser": {"name": "adam", "learning_rate": 0.1}}


def state_at(step: int) -> TrainState:
    return TrainState(
        jnp.asarray(step, jnp.int32),
        params={"kernel": jnp.asarray([step, 0.1], jnp.float32)},
        optimiser=(jnp.asarray([1e-30 * step], jnp.float32),),
    )


def numbers() -> Any:
    """Return an iterator of a run's kind, over 0, 1, 2, ..."""
    return iter(grain.MapDataset.range(100).to_iter_dataset())


def save_steps(run_dir: Path, *steps: int, settings: Any = SETTINGS) -> None:
    """Save a checkpoint after each of these steps, with as many numbers taken."""
    checkpoints, batches = RunCheckpoints(run_dir, settings), numbers()
    for step in range(1, max(steps) + 1):
        next(batches)
        if step in steps:
            checkpoints.save(Progress(state_at(step), elapsed_s=step / 7), batches)
    checkpoints.close()


def test_newest_checkpoint_is_restored_bit_by_bit(tmp_path: Path) -> None:
    save_steps(tmp_path, 4, 9)
    batches = numbers()
    progress = RunCheckpoints(tmp_path, SETTINGS).restore(state_at(0), batches)
    assert int(progress.state.step) == 9
    expected = state_at(9)
    np.testing.assert_array_equal(progress.state.params["kernel"], expected.params["kernel"])
    np.testing.assert_array_equal(progress.state.optimiser[0], expected.optimiser[0])
    assert progress.elapsed_s == 9 / 7
    assert next(batches) == 9


def test_without_a_checkpoint_the_run_starts_at_the_beginning(tmp_path: Path) -> None:
    batches = numbers()
    initial = state_at(0)
    progress = RunCheckpoints(tmp_path, SETTINGS).restore(initial, batches)
    assert progress.state is initial
    assert progress.elapsed_s == 0
    assert next(batches) == 0


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    save_steps(tmp_path, 1, 2, 3, 4)
    kept = {folder.name for folder in (tmp_path / "checkpoints").iterdir()}
    assert kept == {"3", "4"}
    assert len(kept) == KEPT_CHECKPOINTS


def test_second_save_of_a_step_changes_nothing(tmp_path: Path) -> None:
    checkpoints, batches = RunCheckpoints(tmp_path, SETTINGS), numbers()
    checkpoints.save(Progress(state_at(5), elapsed_s=1.0), batches)
    checkpoints.save(Progress(state_at(5), elapsed_s=2.0), batches)
    assert checkpoints.restore(state_at(0), batches).elapsed_s == 1.0


def test_folder_of_a_run_with_other_settings_is_refused(tmp_path: Path) -> None:
    save_steps(tmp_path, 1)
    other: dict[str, JsonValue] = {"seed": 3, "optimiser": {"name": "muon", "learning_rate": 0.1}}
    with pytest.raises(ValueError, match="holds a run with another optimiser: repeat its command"):
        RunCheckpoints(tmp_path, other).restore(state_at(0), numbers())


def test_checkpoint_without_settings_is_accepted(tmp_path: Path) -> None:
    save_steps(tmp_path, 2, settings={})
    progress = RunCheckpoints(tmp_path, SETTINGS).restore(state_at(0), numbers())
    assert int(progress.state.step) == 2
