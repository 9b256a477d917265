from loadtest.sample import Failure, Sample
from tests.rolling.report import Restart, faults, table


def sample(scheduled_s: float, status: int = 200, failure: Failure | None = None) -> Sample:
    return Sample(scheduled_s, done_s=scheduled_s + 0.25, status=status, failure=failure)


RESTARTS = [Restart("a", 1.0, 3.0, 6.0, 7.0, 0), Restart("b", 7.0, 8.5, 10.0, 11.0, 0)]
GOOD = [sample(instant_s) for instant_s in (0.5, 1.5, 2.5, 7.0, 9.0, 10.9, 10.95, 11.5)]


def test_answers_alone_are_no_fault() -> None:
    assert faults(GOOD, RESTARTS, retries=0) == []


def test_every_other_outcome_is_a_fault() -> None:
    lost = [sample(1, 503), sample(2, 502), sample(3, 502), sample(4, 429)]
    lost += [sample(5, failure=Failure.CLOSED), sample(6, 200, Failure.CLOSED)]
    assert faults(GOOD + lost, RESTARTS, retries=0) == [
        "1 x 429",
        "2 x 502",
        "1 x 503",
        "2 x closed",
    ]


def test_what_would_hide_a_failure_is_a_fault() -> None:
    killed = Restart("b", 7.0, 8.5, 10.0, 11.0, -9)
    assert faults([], RESTARTS, retries=0) == ["no request was sent"]
    assert "retried 3 times" in faults(GOOD, RESTARTS, retries=3)[0]
    assert faults(GOOD, [RESTARTS[0], killed], retries=0) == ["restart 2: b exited with -9"]


def test_a_line_counts_the_requests_of_its_restart() -> None:
    _, first, second, whole = table([*GOOD, sample(8.0, 502)], RESTARTS).splitlines()
    assert first.split() == ["1", "a", "2.0", "3.0", "2", "0", "250", "250", "250"]
    assert second.split() == ["2", "b", "1.5", "1.5", "5", "1", "250", "250", "250"]
    assert whole.split() == ["whole", "run", "9", "1", "250", "250", "250"]
