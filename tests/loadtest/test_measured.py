import csv
import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.measured import BadInput, Measured, read_locust, read_open_loop
from loadtest.result import summarise
from loadtest.sample import Sample
from loadtest.tally import Tally

# The heads of a file that Locust 2.47 wrote.
HEADER = (
    "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,"
    "Min Response Time,Max Response Time,Average Content Size,Requests/s,Failures/s,"
    "50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%"
)
TIMING = 'decode;dur=1.00, queue;dur=2.00, device;dur=4.00, total;dur=8.00, batch;desc="1/1"'


def locust_files(folder: Path, names: tuple[str, ...] = ("a", "b")) -> tuple[Path, Path]:
    stats, sums = folder / "mix_stats.csv", folder / "tally.json"
    with stats.open("w", newline="") as file:
        writer = csv.DictWriter(file, next(csv.reader([HEADER])), restval="0")
        writer.writeheader()
        for name in names:
            percentiles = {"50%": "10", "90%": "20", "95%": "21", "99%": "30"}
            writer.writerow({"Name": name, **percentiles})
        writer.writerow({"Name": "Aggregated", "50%": "N/A"})
    tally = Tally(limit_ms=50)
    tally.add("a", 10.0, TIMING, failed=False)
    tally.add("a", 14.0, TIMING, failed=False)
    tally.add("a", 99.0, None, failed=False)
    tally.add("a", 5.0, None, failed=True)
    tally.add("b", 5.0, None, failed=True)
    tally.write(sums, duration_s=4)
    return stats, sums


def test_locusts_files_are_put_together(tmp_path: Path) -> None:
    a, b = read_locust(*locust_files(tmp_path))
    percentiles = {"p50_ms": 10, "p90_ms": 20, "p95_ms": 21, "p99_ms": 30}
    values = {**percentiles, "requests": 4, "error_rate": 0.25, "goodput_per_s": 0.5}
    spent_ms = {"decode": 1.0, "queue": 2.0, "device": 4.0, "rest": 1.0, "outside": 4.0}
    assert a == Measured("a", values, spent_ms)
    assert (b.name, b.values["error_rate"], b.spent_ms) == ("b", 1, {})


def test_the_stages_add_up_to_what_the_client_waited(tmp_path: Path) -> None:
    a, _ = read_locust(*locust_files(tmp_path))
    assert sum(a.spent_ms.values()) == (10 + 14) / 2


def open_loop_file(folder: Path, samples: list[Sample]) -> Path:
    file = folder / "open.json"
    summarise(samples, mode="open", duration_s=2, limit_s=0.02, cpu_s=0).write(file)
    return file


def test_an_open_loop_is_read(tmp_path: Path) -> None:
    samples = [
        Sample(0, 0, 0, 0.01, 200, TIMING.encode()),
        Sample(1, 1, 1, 1.03, 200, TIMING.encode()),
        Sample(1.5, 1.5, 1.5, 1.6, 429),
        Sample(1.7, 1.7, 1.7, 1.8, 504),
    ]
    found = read_open_loop(open_loop_file(tmp_path, samples))
    assert found.name == "open loop"
    assert found.values == pytest.approx(
        {
            "p50_ms": 10,
            "p90_ms": 30,
            "p95_ms": 30,
            "p99_ms": 30,
            "requests": 4,
            "error_rate": 0.5,
            "goodput_per_s": 0.5,
        }
    )
    assert found.spent_ms == pytest.approx(
        {"decode": 1, "queue": 2, "device": 4, "rest": 1, "outside": 12}
    )


def test_an_open_loop_without_answers_has_no_latency(tmp_path: Path) -> None:
    found = read_open_loop(open_loop_file(tmp_path, []))
    assert found.values == {"requests": 0, "error_rate": 1, "goodput_per_s": 0}
    assert found.spent_ms == {}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"rows": {}}', '{"latency_ms": {}}'])
def test_other_files_are_named(tmp_path: Path, content: str) -> None:
    stats, _ = locust_files(tmp_path)
    other = tmp_path / "other.json"
    other.write_text(content)
    with pytest.raises(BadInput, match=r"other\.json"):
        read_open_loop(other)
    with pytest.raises(BadInput, match=r"other\.json"):
        read_locust(stats, other)


def test_files_of_two_runs_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not of one run"):
        read_locust(*locust_files(tmp_path, names=("a",)))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"absent\.json cannot be read"):
        read_open_loop(tmp_path / "absent.json")


def test_an_unknown_sum_is_refused(tmp_path: Path) -> None:
    stats, sums = locust_files(tmp_path)
    data: dict[str, Any] = json.loads(sums.read_text())
    data["rows"]["a"]["surprise"] = 1
    sums.write_text(json.dumps(data))
    with pytest.raises(BadInput, match="surprise"):
        read_locust(stats, sums)
