import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import JsonValue

from trainer.checkpoints import (
    KEPT_CHECKPOINTS,
    METADATA_BYTES,
    CheckpointError,
    Progress,
    RunCheckpoints,
)
from trainer.digests import LISTING
from trainer.step import TrainState

SETTINGS: dict[str, JsonValue] = {"seed": 3, "optimiser": {"name": "adam", "learning_rate": 0.1}}


def state_at(step: int) -> TrainState:
    return TrainState(
        jnp.asarray(step, jnp.int32),
        params={"kernel": jnp.asarray([step, 0.1], jnp.float32)},
        optimiser=(jnp.asarray([1e-30 * step], jnp.float32),),
    )


def save_steps(run_dir: Path, *steps: int, settings: Any = SETTINGS) -> None:
    checkpoints = RunCheckpoints(run_dir, settings)
    for step in steps:
        checkpoints.save(Progress(state_at(step), elapsed_s=step / 7))
    checkpoints.close()


def restored_step(run_dir: Path) -> int:
    checkpoints = RunCheckpoints(run_dir, SETTINGS)
    progress = checkpoints.restore(state_at(0))
    checkpoints.close()
    return int(progress.state.step)


def saved_steps(run_dir: Path) -> set[str]:
    return {folder.name for folder in (run_dir / "checkpoints").iterdir()}


def test_newest_checkpoint_is_restored_bit_by_bit(tmp_path: Path) -> None:
    save_steps(tmp_path, 4, 9)
    progress = RunCheckpoints(tmp_path, SETTINGS).restore(state_at(0))
    assert int(progress.state.step) == 9
    expected = state_at(9)
    np.testing.assert_array_equal(progress.state.params["kernel"], expected.params["kernel"])
    np.testing.assert_array_equal(progress.state.optimiser[0], expected.optimiser[0])
    assert progress.elapsed_s == 9 / 7


def test_without_a_checkpoint_the_run_starts_at_the_beginning(tmp_path: Path) -> None:
    initial = state_at(0)
    progress = RunCheckpoints(tmp_path, SETTINGS).restore(initial)
    assert progress.state is initial
    assert progress.elapsed_s == 0


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    save_steps(tmp_path, 1, 2, 3, 4)
    assert saved_steps(tmp_path) == {"3", "4"}
    assert len(saved_steps(tmp_path)) == KEPT_CHECKPOINTS


def test_second_save_of_a_step_changes_nothing(tmp_path: Path) -> None:
    checkpoints = RunCheckpoints(tmp_path, SETTINGS)
    checkpoints.save(Progress(state_at(5), elapsed_s=1.0))
    checkpoints.save(Progress(state_at(5), elapsed_s=2.0))
    assert checkpoints.restore(state_at(0)).elapsed_s == 1.0


# Settings


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({"seed": 3, "optimiser": {"name": "muon", "learning_rate": 0.1}}, "optimiser"),
        ({"seed": 4, "optimiser": {"name": "muon"}}, "optimiser, seed"),
        ({"optimiser": SETTINGS["optimiser"]}, "seed"),
        ({**SETTINGS, "head_bias": None}, "head_bias"),
    ],
)
def test_folder_of_a_run_with_other_settings_is_refused(
    tmp_path: Path, other: dict[str, JsonValue], names: str
) -> None:
    save_steps(tmp_path, 1)
    with pytest.raises(ValueError, match=f"holds a run with another {names}: repeat its command"):
        RunCheckpoints(tmp_path, other).restore(state_at(0))


# Damage


def files_of(checkpoint: Path) -> list[Path]:
    return sorted(each for each in checkpoint.rglob("*") if each.is_file())


def test_damage_to_any_file_of_the_newest_leads_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_steps(tmp_path / "whole", 4, 9)
    files = files_of(tmp_path / "whole" / "checkpoints" / "9")
    assert len(files) > 5
    for number, file in enumerate(files):
        run_dir = shutil.copytree(tmp_path / "whole", tmp_path / str(number))
        name = file.relative_to(tmp_path / "whole")
        content = bytearray((run_dir / name).read_bytes())
        content[len(content) // 2] ^= 1
        (run_dir / name).write_bytes(content)
        caplog.clear()
        assert restored_step(run_dir) == 4
        assert f"{run_dir}/checkpoints/9 is damaged (" in caplog.text
        assert f"moved to {run_dir}/damaged/9; the run goes on from the one before" in caplog.text
        assert len(files_of(run_dir / "damaged" / "9")) == len(files)


def test_run_passes_the_step_of_a_damaged_checkpoint_again(tmp_path: Path) -> None:
    for number in range(2):
        save_steps(tmp_path, 4, 9)
        (tmp_path / "checkpoints" / "9" / "run" / "metadata").unlink()
        assert restored_step(tmp_path) == 4
        assert len(list((tmp_path / "damaged").iterdir())) == number + 1
    save_steps(tmp_path, 9)
    assert restored_step(tmp_path) == 9
    assert saved_steps(tmp_path) == {"4", "9"}


def test_without_a_whole_checkpoint_the_run_is_refused_and_nothing_moved(tmp_path: Path) -> None:
    save_steps(tmp_path, 4, 9)
    for step in ("4", "9"):
        (tmp_path / "checkpoints" / step / "run" / "metadata").unlink()
    message = r"checkpoints: every checkpoint is damaged \((4|9): run/metadata is missing; "
    with pytest.raises(CheckpointError, match=message):
        RunCheckpoints(tmp_path, SETTINGS)
    assert saved_steps(tmp_path) == {"4", "9"}


def test_checkpoint_of_a_run_killed_before_its_digests_were_written_counts(tmp_path: Path) -> None:
    save_steps(tmp_path, 4, 9)
    (tmp_path / "checkpoints" / "9" / LISTING).unlink()
    assert restored_step(tmp_path) == 9


def test_unfinished_checkpoint_is_cleared_away(tmp_path: Path) -> None:
    save_steps(tmp_path, 4)
    folder = tmp_path / "checkpoints"
    shutil.copytree(folder / "4", folder / "9.orbax-checkpoint-tmp")
    assert restored_step(tmp_path) == 4
    save_steps(tmp_path, 8)
    assert saved_steps(tmp_path) == {"4", "8"}


# A full disk


def test_checkpoint_larger_than_the_free_space_is_refused_before_it_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_steps(tmp_path, 4)
    checkpoints = RunCheckpoints(tmp_path, SETTINGS)
    arrays_bytes = 4 + 2 * 4 + 4
    needed_bytes = arrays_bytes + METADATA_BYTES
    free = SimpleNamespace(free=needed_bytes - 1)
    monkeypatch.setattr("trainer.checkpoints.shutil", SimpleNamespace(disk_usage=lambda _: free))
    message = rf"step 9 .* step 4 is kept: .*No space left on device, {needed_bytes:,} bytes are"
    with pytest.raises(CheckpointError, match=message):
        checkpoints.save(Progress(state_at(9), elapsed_s=1.0))
    assert saved_steps(tmp_path) == {"4"}
    free.free += 1
    checkpoints.save(Progress(state_at(9), elapsed_s=1.0))
    assert saved_steps(tmp_path) == {"4", "9"}


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond this size: the kernel refuses as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size_bytes", [0, 100])
def test_checkpoint_that_does_not_fit_is_refused_and_the_last_one_kept(
    tmp_path: Path, size_bytes: int
) -> None:
    save_steps(tmp_path, 4)
    checkpoints = RunCheckpoints(tmp_path, SETTINGS)
    message = r"checkpoints: step 9 cannot be written, and step 4 is kept: .*File too large"
    with largest_file(size_bytes), pytest.raises(CheckpointError, match=message) as refused:
        checkpoints.save(Progress(state_at(9), elapsed_s=1.0))
    assert "tensorstore_spec" not in str(refused.value)
    checkpoints.close()
    assert restored_step(tmp_path) == 4
    save_steps(tmp_path, 9)
    assert restored_step(tmp_path) == 9
