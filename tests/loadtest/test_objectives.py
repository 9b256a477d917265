from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.measured import BadInput, Measured
from loadtest.objectives import AT_LEAST, AT_MOST, Objective, Verdict, judge, read_objectives
from loadtest.slo import OBJECTIVES

MEASURED = [
    Measured("POST /embed", {"p99_ms": 30, "error_rate": 0, "goodput_per_s": 5}, {}),
    Measured("hostile: a", {"error_rate": 0}, {}),
    Measured("hostile: b", {"error_rate": 0.5}, {}),
]


def written(folder: Path, text: str) -> Path:
    file = folder / "objectives.toml"
    file.write_text(text)
    return file


def test_tables_are_read(tmp_path: Path) -> None:
    file = written(tmp_path, '["POST /embed"]\np99_ms = 30.5\nrequests = 7\n["x*"]\nerror_rate = 0')
    assert read_objectives(file) == [
        Objective("POST /embed", "p99_ms", 30.5),
        Objective("POST /embed", "requests", 7),
        Objective("x*", "error_rate", 0),
    ]


@given(st.sampled_from((*AT_MOST, *AT_LEAST)), st.floats(0, 1e6), st.floats(0.001, 1e6))
def test_a_limit_itself_is_met_and_one_side_of_it(number: str, limit: float, more: float) -> None:
    objective = Objective("a", number, limit)
    assert objective.met_by(limit)
    assert objective.met_by(limit + more) == (number in AT_LEAST)
    assert objective.met_by(limit - more) == (number in AT_MOST)


def test_a_pattern_is_about_every_name_that_fits() -> None:
    objective = Objective("hostile: *", "error_rate", 0.1)
    verdicts = judge([objective], MEASURED)
    assert [(v.name, v.met) for v in verdicts] == [("hostile: a", True), ("hostile: b", False)]


def test_what_has_no_number_is_missed() -> None:
    (verdict,) = judge([Objective("hostile: a", "p99_ms", 1e9)], MEASURED)
    assert verdict == Verdict("hostile: a", Objective("hostile: a", "p99_ms", 1e9), None)
    assert not verdict.met


def test_an_objective_about_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match=r"'POST /clasify' was not measured, but 'POST /embed', "):
        judge([Objective("POST /clasify", "p99_ms", 1)], MEASURED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no objective"),
        ("[a]", "holds no objective"),
        ("[a\n", "cannot be read"),
        ("[a]\np98_ms = 1", "'p98_ms' of 'a' is unknown; allowed are p50_ms"),
        ("p99_ms = 'x'", "p99_ms of 'p99_ms' is 'x'"),
        ("[a]\np99_ms = '1'", "is '1'; a number from 0"),
        ("[a]\np99_ms = true", "is True; a number from 0"),
        ("[a]\np99_ms = -1", "is -1; a number from 0"),
        ("[a]\np99_ms = nan", "is nan; a number from 0"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_objectives(written(tmp_path, text))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"absent\.toml cannot be read"):
        read_objectives(tmp_path / "absent.toml")


def test_the_committed_objectives_are_about_each_kind_of_user() -> None:
    patterns = {objective.pattern for objective in read_objectives(OBJECTIVES)}
    assert patterns >= {"POST /classify", "POST /embed", "few-shot burst", "hostile: *"}
