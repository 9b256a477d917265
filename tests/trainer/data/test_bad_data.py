import logging

import pytest

from trainer.data import BadData, DataError


def test_each_bad_thing_is_logged_and_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    bad = BadData(limit=2)
    with caplog.at_level(logging.WARNING):
        for message in ("a.png: torn", "b.png: torn", "a.png: torn"):
            bad.report(message)
    assert [record.getMessage() for record in caplog.records] == [
        "a.png: torn (bad data: 1, allowed: 2)",
        "b.png: torn (bad data: 2, allowed: 2)",
    ]


def test_one_too_many_is_refused_with_its_name_and_the_setting() -> None:
    bad = BadData(limit=1)
    bad.report("a.png: torn")
    with pytest.raises(DataError, match=r"b\.png: torn \(bad data: 2; data\.max_bad_share allows"):
        bad.report("b.png: torn")
