import pytest

from bench.__main__ import main
from bench.job import QUICK, Job
from bench.rows import Row


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["bounds", "--variants", "S/3"], "invalid choice: 'S/3'"),
        (["bounds", "--batches", "0"], "--batches: '0' is no whole number above 0"),
        (["service", "--connections", "8", "x"], "--connections: 'x' is no whole number above 0"),
        (["overload", "--factors", "nan"], "--factors: 'nan' is no number above 0, up to 100"),
        (["overload", "--rounds", "0"], "--rounds: '0' is no whole number above 0"),
        (["soak", "--minutes", "1.5"], "--minutes: '1.5' is no whole number above 0"),
        (["soak", "--minutes", "1"], "--minutes: the last minute is compared with the first"),
        (["service", "--precision", "int4"], "--precision: invalid choice: 'int4'"),
        (["unknown"], "invalid choice: 'unknown'"),
    ],
)
def test_a_wrong_option_is_named(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["service"], ("float32", False)),
        (["--precision", "int8", "--quick", "service"], ("int8", True)),
        (["--precision", "int8", "service", "--precision", "bfloat16"], ("bfloat16", False)),
    ],
)
def test_what_stands_before_a_part_holds_for_it(
    arguments: list[str], expected: tuple[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []

    def measure(job: Job, **_: object) -> list[Row]:
        jobs.append(job)
        raise SystemExit(0)

    monkeypatch.setattr("bench.service.measure", measure)
    with pytest.raises(SystemExit):
        main(arguments)
    (job,) = jobs
    assert (job.precision, job.effort is QUICK) == expected
