from loadtest.server_timing import ServerTiming, parse_server_timing
from service.observe import Trace


def test_stages_and_batch_are_read() -> None:
    header = 'decode;dur=1.25, queue;dur=0.00, total;dur=10, batch;desc="3/4"'
    stages_ms = {"decode": 1.25, "queue": 0.0, "total": 10.0}
    assert parse_server_timing(header) == ServerTiming(stages_ms, 3, 4)


def test_an_answer_without_a_batch() -> None:
    assert parse_server_timing("total;dur=0.31") == ServerTiming({"total": 0.31}, None, None)


def test_nothing_is_nothing() -> None:
    assert parse_server_timing("") == ServerTiming({}, None, None)


def test_what_the_service_writes_is_read() -> None:
    trace = Trace("id", stages_s={"decode": 0.0105, "queue": 2.0, "device": 0.03}, batch="5/8")
    timing = parse_server_timing(trace.server_timing())
    assert timing.stages_ms.keys() == {"decode", "queue", "device", "total"}
    assert timing.stages_ms["decode"] == 10.5
    assert timing.stages_ms["queue"] == 2000
    assert (timing.batch_images, timing.bucket) == (5, 8)
