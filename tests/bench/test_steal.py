"""The share of the processor's time that the hypervisor takes."""

import os
from pathlib import Path

import pytest

from bench.steal import StolenShare, stolen_s


def test_it_is_what_the_kernel_counts(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 250 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    assert stolen_s(tmp_path / "stat") == 250 / os.sysconf("SC_CLK_TCK")
    assert stolen_s(tmp_path / "none") == 0


def test_this_kernel_counts_it() -> None:
    assert 0 <= stolen_s() <= stolen_s()


def test_the_share_is_that_of_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    taken_s, times_s = iter([100.0, 100.5, 103.0]), iter([20.0, 21.0, 23.0])
    share = StolenShare(taken_s.__next__, times_s.__next__)
    assert share.so_far() == 0.5 / 4
    assert share.so_far() == 3 / (3 * 4)


def test_it_is_told_in_words() -> None:
    share = StolenShare(iter([0.0, 0.0]).__next__, iter([5.0, 6.0]).__next__)
    assert share.told() == "0.0% of the processor's time, by the hypervisor"
