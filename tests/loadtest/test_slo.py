from pathlib import Path

import pytest

from loadtest.slo import main
from tests.loadtest.test_measured import locust_files, open_loop_file


def objectives(folder: Path, text: str) -> list[str]:
    file = folder / "objectives.toml"
    file.write_text(text)
    return ["--objectives", str(file)]


def results(folder: Path) -> list[str]:
    stats, tally = locust_files(folder)
    return ["--stats", str(stats), "--tally", str(tally)]


def test_all_met(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = objectives(tmp_path, "[a]\np99_ms = 30\nerror_rate = 0.25\ngoodput_per_s = 0.5")
    assert main([*results(tmp_path), *given]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("mean", "ms", "decode", "queue", "device", "rest", "outside", "client")
    ]
    assert lines[1].split() == ["a", "1.0", "2.0", "4.0", "1.0", "4.0", "12.0"]
    assert ["a", "p99_ms", "30", "<=", "30", "met"] in [line.split() for line in lines]
    assert lines[-1] == "3 of 3 objectives met"


def test_one_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = objectives(tmp_path, "[a]\np99_ms = 29.9\nrequests = 4")
    assert main([*results(tmp_path), *given]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert ["a", "p99_ms", "30", "<=", "29.9", "MISSED"] in [line.split() for line in lines]
    assert lines[-1] == "1 of 2 objectives met"


def test_nothing_measured_is_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = open_loop_file(tmp_path, [])
    given = objectives(tmp_path, '["open loop"]\np99_ms = 1000')
    assert main(["--open-loop", str(file), *given]) == 1
    assert "nothing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to judge"),
        (["--stats", "x"], "go together"),
        (["--tally", "x"], "go together"),
        (["--open-loop", "absent"], "absent cannot be read"),
    ],
)
def test_bad_input(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(options) == 2
    assert message in capsys.readouterr().err


def test_an_objective_about_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*results(tmp_path), *objectives(tmp_path, "[c]\np99_ms = 1")]) == 2
    assert "'c' was not measured" in capsys.readouterr().err
