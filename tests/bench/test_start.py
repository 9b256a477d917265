"""The rows of the starts, from given measurements; the measuring itself is the service's."""

import pytest

from bench.rows import Row
from bench.start import MIB, Start, start_rows

FOUND = {
    "import": [Start(0.8, 0), Start(1.6, 0), Start(1.0, 0)],
    "read": [Start(0.2, 0), Start(0.4, 0), Start(0.5, 0)],
    "cold": [Start(10.0, 0), Start(4.0, 0), Start(6.0, 0)],
    "warm": [Start(1.5, 3 * MIB), Start(2.0, 5 * MIB), Start(6.0, 4 * MIB)],
}


def make_row(series: str, unit: str, values: list[float], note: str = "") -> Row:
    return Row("start", series, unit, tuple(values), "a command", note=note)


@pytest.fixture
def rows() -> dict[str, Row]:
    return {row.series: row for row in start_rows(FOUND, 2 * MIB, make_row)}


def test_a_ratio_is_over_the_same_rounds_yardstick(rows: dict[str, Row]) -> None:
    assert rows["import jax + read weights"].values == pytest.approx((1.0, 2.0, 1.5))
    assert rows["warm start over import + read"].values == pytest.approx((1.5, 1.0, 4.0))
    assert rows["warm start over import + read"].median == pytest.approx(1.5)
    assert rows["cold start over import + read"].values == pytest.approx((10.0, 2.0, 4.0))


def test_memory_is_that_of_the_warm_starts(rows: dict[str, Row]) -> None:
    assert rows["resident when ready"].values == (3.0, 5.0, 4.0)
    assert rows["resident over weights"].values == (1.5, 2.5, 2.0)
