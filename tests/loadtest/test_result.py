import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.result import Distribution, describe, distribution, steady_rate, summarise
from loadtest.sample import Failure, Sample

TIMING = b'decode;dur=1.00, queue;dur=2.00, device;dur=4.00, total;dur=8.00, batch;desc="3/4"'


def answered(
    scheduled_s: float, latency_s: float, status: int = 200, timing: bytes = b""
) -> Sample:
    done_s = scheduled_s + latency_s
    return Sample(scheduled_s, scheduled_s, scheduled_s, done_s, status, timing)


SAMPLES = [
    answered(0.0, 0.010, timing=TIMING),
    answered(1.0, 0.030, timing=TIMING.replace(b"8.00", b"16.0").replace(b"3/4", b"1/1")),
    answered(2.0, 0.500),
    answered(3.0, 0.001, 429),
    answered(3.5, 0.001, 503),
    answered(3.6, 0.001, 504),
    answered(3.7, 0.001, 422),
    Sample(3.8, 3.9, 3.9, 4.0, failure=Failure.CLOSED),
    Sample(3.9, 3.9, 3.9, 6.0, status=200, failure=Failure.UNANSWERED),
]


def test_every_request_is_counted_once() -> None:
    result = summarise(SAMPLES, mode="open", duration_s=4, limit_s=0.1, cpu_s=0.009)
    assert result.statuses == {"200": 3, "422": 1, "429": 1, "503": 1, "504": 1}
    assert result.failures == {"closed": 1, "unanswered": 1}
    assert (result.requests, result.answered, result.refused, result.failed) == (9, 3, 2, 2)
    assert sum(result.statuses.values()) + result.failed == result.requests


def test_rates_are_over_the_time_until_the_last_answer() -> None:
    result = summarise(SAMPLES, mode="open", duration_s=4, limit_s=0.1, cpu_s=0)
    assert result.elapsed_s == 6
    assert result.offered_per_s == 9 / 4
    assert result.throughput_per_s == 3 / 6
    assert (result.late, result.goodput_per_s) == (1, 2 / 6)


def test_the_steady_rate_is_without_ramp_and_drain() -> None:
    result = summarise(
        [answered(0.0, done_s) for done_s in (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 5.5)]
        + [answered(0.0, 2.5, status=429)],
        mode="closed",
        duration_s=4.0,
        limit_s=None,
        cpu_s=0,
    )
    # At 2.0, 3.0 and 4.0; half a second before the middle, half a second after, and the end.
    assert result.steady_per_s == pytest.approx(2 * 6 / 27 * (9 / 4 - 1 / 4))
    assert result.throughput_per_s == 7 / 5.5


@given(st.integers(1, 40), st.floats(0.01, 0.2), st.floats(0.0, 1.0))
def test_a_steady_rate_does_not_depend_on_where_bursts_fall(
    burst: int, every_s: float, first: float
) -> None:
    instants_s = (np.arange(int(12 / every_s)) + first) * every_s
    found = steady_rate(np.repeat(instants_s, burst).tolist(), duration_s=10.0)
    assert found == pytest.approx(burst / every_s, rel=0.001)


@pytest.mark.parametrize(
    ("instants_s", "rate_per_s"),
    [([], 0), (np.arange(100, 500) / 100, 25.84), (np.full(32, 6.0), 6.37)],
    ids=["nothing", "a server that hangs at half", "one batch"],
)
def test_time_without_answers_counts(instants_s: "np.ndarray", rate_per_s: float) -> None:
    assert steady_rate(list(instants_s), duration_s=10.0) == pytest.approx(rate_per_s, abs=0.005)


def test_without_a_limit_nothing_is_late() -> None:
    result = summarise(SAMPLES, mode="open", duration_s=4, limit_s=None, cpu_s=0)
    assert (result.late, result.limit_ms) == (0, None)
    assert result.goodput_per_s == result.throughput_per_s


def test_latency_is_that_of_good_answers_from_their_schedule() -> None:
    waited = Sample(scheduled_s=1, released_s=1.2, sent_s=1.25, done_s=2, status=200)
    result = summarise([*SAMPLES, waited], mode="open", duration_s=4, limit_s=None, cpu_s=0)
    assert result.latency_ms.count == 4
    assert result.latency_ms.largest == pytest.approx(1000)
    assert result.generator.worst_lag_ms == pytest.approx(200)


def test_stages_tell_where_time_went() -> None:
    result = summarise(SAMPLES, mode="open", duration_s=4, limit_s=None, cpu_s=0)
    means = {stage: values.mean for stage, values in result.stages_ms.items()}
    # Outside: (10 - 8 + 30 - 16) / 2 milliseconds.
    assert means == pytest.approx({"decode": 1, "queue": 2, "device": 4, "total": 12, "outside": 8})
    assert (result.batch_images.count, result.batch_images.mean) == (2, 2)


def test_the_generator_reports_on_itself() -> None:
    result = summarise(SAMPLES, mode="open", duration_s=4, limit_s=None, cpu_s=0.018)
    assert result.generator.cpu_s == 0.018
    assert result.generator.cpu_ms_per_request == pytest.approx(2)


def test_no_request_at_all() -> None:
    result = summarise([], mode="open", duration_s=3, limit_s=0.5, cpu_s=0)
    assert (result.requests, result.throughput_per_s, result.elapsed_s) == (0, 0, 3)
    assert result.latency_ms == Distribution(0)
    assert "latency ms  mean -" in describe(result)


def test_json_holds_every_field() -> None:
    result = summarise(SAMPLES, mode="open", duration_s=4, limit_s=0.1, cpu_s=0)
    read = json.loads(result.to_json())
    assert read["latency_ms"]["p50"] == result.latency_ms.p50
    assert read["stages_ms"]["device"]["mean"] == 4
    assert read["generator"].keys() == {"cpu_s", "cpu_ms_per_request", "worst_lag_ms", "p99_lag_ms"}


def test_the_summary_names_what_happened() -> None:
    text = describe(summarise(SAMPLES, mode="open", duration_s=4, limit_s=0.1, cpu_s=0))
    for expected in ("9 requests", "3 x 200", "1 x 429", "1 x closed", "1 late", "batch 2.0"):
        assert expected in text


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float]) -> None:
    found = distribution(values)
    ordered = sorted(values)
    for percent, value in ((50, found.p50), (90, found.p90), (95, found.p95), (99, found.p99)):
        assert value == ordered[math.ceil(percent * len(values) / 100) - 1]
    assert found.largest == ordered[-1]
    assert found.mean == pytest.approx(np.mean(values))
