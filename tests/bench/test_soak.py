from bench.processes import Held
from bench.soak import rows


def test_the_last_minute_is_compared_with_the_first() -> None:
    after = [Held(2**20, 20, 7), Held(2**21, 25, 8), Held(3 * 2**19, 21, 7)]
    found = {row.name: row.median for row in rows(after, [10.0, 9.0, 8.0], "command")}
    assert found == {
        "resident, minute 1": 1.0,
        "resident, minute 2": 2.0,
        "resident, minute 3": 1.5,
        "resident, last minute over first": 1.5,
        "files, last minute less first": 1,
        "threads, last minute less first": 0,
        "throughput, last minute over first": 0.8,
    }
