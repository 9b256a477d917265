import json
from pathlib import Path

from loadtest.tally import Tally

TIMING = 'queue;dur=2.00, total;dur=8.00, batch;desc="1/1"'


def gathered() -> Tally:
    tally = Tally(limit_ms=50)
    tally.add("a", 10.0, TIMING, failed=False)
    tally.add("a", 30.0, TIMING.replace("8.00", "20.0"), failed=False)
    tally.add("a", 50.1, None, failed=False)
    tally.add("b", 5.0, None, failed=True)
    return tally


def test_requests_are_counted_by_name() -> None:
    rows = gathered().rows
    assert (rows["a"].requests, rows["a"].failures, rows["a"].within_limit) == (3, 0, 2)
    assert (rows["b"].requests, rows["b"].failures, rows["b"].within_limit) == (1, 1, 0)


def test_means_are_of_the_answers_that_were_timed() -> None:
    row = gathered().rows["a"]
    assert (row.timed, row.client_ms) == (2, 40)
    assert (row.mean_ms("queue"), row.mean_ms("total"), row.mean_ms("device")) == (2, 14, 0)
    assert gathered().rows["b"].mean_ms("total") == 0


def test_workers_add_up_to_what_one_process_would_count() -> None:
    one, master = gathered(), Tally(limit_ms=50)
    for _ in range(2):
        master.merge(json.loads(json.dumps(gathered().take())))
    one.merge(gathered().take())
    assert master.rows == one.rows


def test_taking_begins_anew() -> None:
    tally = gathered()
    assert tally.take().keys() == {"a", "b"}
    assert tally.take() == {}


def test_the_file_holds_everything(tmp_path: Path) -> None:
    file = tmp_path / "tally.json"
    gathered().write(file, duration_s=12.5)
    read = json.loads(file.read_text())
    assert (read["duration_s"], read["limit_ms"]) == (12.5, 50)
    assert read["rows"] == gathered().take()
