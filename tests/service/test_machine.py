"""Cores by affinity and quota, and the front ends for them."""

import os
from pathlib import Path

import pytest

from service.machine import available_cores, default_frontends

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
    ("cores", "frontends"), [(1, 1), (2, 1), (7, 1), (8, 2), (11, 2), (64, 16)]
)
def test_front_ends_follow_from_the_cores(cores: int, frontends: int) -> None:
    assert default_frontends(cores) == frontends
