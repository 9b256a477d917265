"""The lines of the log."""

import logging

from hypothesis import given
from hypothesis import strategies as st

from service.logs import LineFormatter

PLAIN = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
INSTANTS_S = st.lists(st.floats(0, 4e9), min_size=1)


@given(INSTANTS_S)
def test_lines_are_as_pythons_own_formatter_writes_them(instants_s: list[float]) -> None:
    ours = LineFormatter()
    for instant_s in instants_s:
        for created in (instant_s, instant_s + 0.001):  # often of the same second
            record = logging.makeLogRecord(
                {
                    "name": "mixer.request",
                    "levelname": "INFO",
                    "msg": "%s took %d ms",
                    "args": ("/classify", 7),
                    "created": created,
                    "msecs": created % 1 * 1000,
                }
            )
            assert ours.format(record) == PLAIN.format(record)
