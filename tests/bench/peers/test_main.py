"""The contest: who enters, who plays when, and who leaves it."""

from pathlib import Path
from typing import Any

import pytest

from bench.peers.__main__ import OURS, _play_rounds, require_agreement
from bench.peers.contest import NotServing, Score

TURNS = [100.0, 200.0, 300.0]  # what each turn of a stub has in images a second


class Stub:
    """An entrant whose turn fails in the rounds that it is told."""

    def __init__(self, name: str, log: Path, fails_in: int | None = None) -> None:
        self.name, self.log, self._fails_in = name, log, fails_in
        self._turns = 0

    def play(self) -> Score:
        self._turns += 1
        with self.log.open("a") as log:
            log.write(f"{self.name} ")
        if self._turns == self._fails_in:
            raise NotServing("no answer under load")
        return Score(100.0 * self._turns, 20.0, 30.0, 1.5, 0)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens on the host meanwhile."""
    monkeypatch.setattr("bench.repetition.DISTURBED", 1e9)


def rates(scores: dict[str, list[Score]]) -> dict[str, list[float]]:
    return {name: [score.images_per_s for score in rounds] for name, rounds in scores.items()}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where all write when they play."""
    return tmp_path / "log"


def test_every_second_round_runs_backwards(log: Path) -> None:
    entrants: list[Any] = [Stub(name, log) for name in (OURS, "a", "b")]
    scores = _play_rounds(entrants, 3)
    assert log.read_text() == f"{OURS} a b b a {OURS} {OURS} a b "
    assert rates(scores) == dict.fromkeys((OURS, "a", "b"), TURNS)


def test_a_peer_that_once_fails_leaves_the_contest(log: Path) -> None:
    entrants: list[Any] = [Stub(OURS, log), Stub("a", log, fails_in=2), Stub("b", log)]
    scores = _play_rounds(entrants, 3)
    assert log.read_text().count("a ") == 2
    assert rates(scores) == dict.fromkeys((OURS, "b"), TURNS)


def test_without_ours_there_is_no_contest(log: Path) -> None:
    entrants: list[Any] = [Stub(OURS, log, fails_in=2), Stub("a", log)]
    with pytest.raises(NotServing, match="no answer under load"):
        _play_rounds(entrants, 3)


def test_who_names_other_classes_does_not_enter() -> None:
    ours = [7, 3, 5, 2, 9]
    require_agreement(ours, [], compared=5)
    require_agreement([7, 5, 3, 2, 9], [ours], compared=1)
    with pytest.raises(NotServing, match=r"\[7, 5, 3, 2, 9\], others \[7, 3, 5, 2, 9\]"):
        require_agreement([7, 5, 3, 2, 9], [ours], compared=5)
