from pathlib import Path

import pytest

from bench.rows import Row, number, read, table, write

ROW = Row("service", "mixer, p50", "ms", (3.0, 1.5, 200.25), "python -m bench service", 64, "users")
PLAIN = Row("start", "cold", "s", (12.0,), "python -m bench start", note="empty")


def test_a_row_names_where_it_was_measured() -> None:
    assert (ROW.name, ROW.median) == ("mixer, p50, users 64", 3.0)
    assert (PLAIN.name, PLAIN.median) == ("cold", 12.0)


def test_a_row_without_values_is_refused() -> None:
    with pytest.raises(ValueError, match="start, cold: there is no value"):
        Row("start", "cold", "s", (), "")


def test_the_table_is_markdown_with_equal_columns() -> None:
    lines = table([ROW, PLAIN]).splitlines()
    assert len(lines) == 4
    assert len(set(map(len, lines))) == 1
    bars = [[place for place, letter in enumerate(line) if letter == "|"] for line in lines]
    assert all(places == bars[0] for places in bars)
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == [
        *("service", "mixer, p50, users 64", "3.00", "ms", "1.50", "200", "3"),
        *("`python -m bench service`", ""),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (0.1234, "0.123"), (1.234, "1.23"), (-12.34, "-12.3"), (1234.5, "1234")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "new" / "rows.json"
    write(file, {"cores": 2}, [ROW, PLAIN])
    assert read(file) == ({"cores": 2}, [ROW, PLAIN])
