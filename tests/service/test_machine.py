"""Cores by affinity and quota; accelerators by their device files."""

import os
from pathlib import Path

import pytest

from service.machine import available_cores, default_frontends, has_accelerator

ALL = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", ALL),
        ("100000 100000\n", 1),
        ("50000 100000\n", 1),
        ("50000 25000\n", min(ALL, 2)),
        ("100001 100000\n", min(ALL, 2)),
        ("900000000 100000\n", ALL),
        ("", ALL),
        ("strange\n", ALL),
    ],
)
def test_a_quota_bounds_the_cores(text: str, cores: int, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert available_cores(tmp_path / "cpu.max") == cores


def test_without_a_quota_the_affinity_counts(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "none") == ALL


def test_an_affinity_bounds_the_cores(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_cores(tmp_path / "none") == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("device", "found"),
    [
        ("nvidia0", True),
        ("nvidia11", True),
        ("accel0", True),
        ("vfio/0", True),
        ("nvidiactl", False),
        ("vfio/vfio", False),
        ("null", False),
    ],
)
def test_an_accelerator_is_known_by_its_device_file(
    device: str, *, found: bool, tmp_path: Path
) -> None:
    file = tmp_path / device
    file.parent.mkdir(exist_ok=True)
    file.touch()
    assert has_accelerator(tmp_path) is found


@pytest.mark.parametrize(
    ("cores", "accelerator", "frontends"),
    [
        *[(1, False, 1), (2, False, 1), (15, False, 1), (16, False, 2), (64, False, 8)],
        *[(2, True, 1), (7, True, 1), (8, True, 2), (16, True, 4)],
    ],
)
def test_front_ends_follow_from_cores_and_device(
    cores: int, *, accelerator: bool, frontends: int
) -> None:
    assert default_frontends(cores, accelerator=accelerator) == frontends
