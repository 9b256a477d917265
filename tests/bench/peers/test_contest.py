import sys
from pathlib import Path

import pytest

from bench.peers.contest import Contestant, Load, NotServing, Score, entered, score, table
from bench.peers.peer import raw
from bench.peers.processes import family, read_processes
from loadtest.result import LoadResult, summarise
from loadtest.sample import Failure, Sample


def _result(*samples: Sample) -> LoadResult:
    return summarise(samples, mode="closed", duration_s=4.0, limit_s=None, cpu_s=0.0)


def test_a_score_counts_answers_and_shares_the_cpu_time_among_them() -> None:
    answered = [Sample(0.0, done_s=s, status=200) for s in (0.25, 0.5, 0.75)]
    failed = Sample(0.0, done_s=1.0, failure=Failure.CLOSED)
    found = score(_result(*answered, failed, Sample(0.0, done_s=1.0, status=503)), cpu_s=0.75)
    assert found == Score(
        images_per_s=0.75,
        p50_ms=500.0,
        p99_ms=750.0,
        cpu_ms_per_answer=250.0,
        unanswered=2,
    )


def test_no_answer_at_all_is_no_score() -> None:
    with pytest.raises(NotServing, match="503"):
        score(_result(Sample(0.0, done_s=1.0, status=503)), cpu_s=1.0)


def test_the_table_has_medians_and_the_median_of_the_ratios_within_each_round() -> None:
    # The machine halves its speed from round to round; their ratio to ours is 0.5, 0.5 and 0.8.
    ours = [_scored(800.0), _scored(400.0), _scored(200.0)]
    theirs = [_scored(400.0), _scored(200.0), _scored(160.0)]
    _, _, our_row, their_row = table({"ours": ours, "theirs": theirs}, "ours")
    assert our_row == "| ours | 400.0 | 1.00 | 20 | 30 | 1.50 | 3 |"
    assert their_row == "| theirs | 200.0 | 0.50 (0.50 to 0.65) | 20 | 30 | 1.50 | 3 |"


SERVER = """
import subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status = int(sys.argv[2])
        body = b'{"predictions": [{"class_id": 4}, {"class_id": 2}]}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
LOAD = Load([b"a file", b"another"], connections=3, turn_s=0.2)


def _contestant(status: int) -> Contestant:
    return Contestant(
        "it", lambda port: [sys.executable, "-c", SERVER, str(port), str(status)], "/", raw
    )


def test_a_server_runs_in_its_turns_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.peers.contest.WARM_UP_S", 0.1)
    with entered(_contestant(200), LOAD, tmp_path / "log") as entrant:
        assert entrant.classes == [4, 2]
        for _ in range(2):
            assert _states(entrant.pid) == ["T", "T"]  # it and its child, stopped by a signal
            found = entrant.play()
            assert found.images_per_s > 0
            assert found.unanswered == 0
    assert set(_states(entrant.pid)) <= {"Z"}


def test_a_server_that_fails_does_not_enter(tmp_path: Path) -> None:
    with (
        pytest.raises(NotServing, match="fails: 500"),
        entered(_contestant(500), LOAD, tmp_path / "log"),
    ):
        pass


def _states(pid: int) -> list[str]:
    return [p.state for p in family(read_processes(), pid)]


def _scored(images_per_s: float) -> Score:
    return Score(images_per_s, p50_ms=20.0, p99_ms=30.0, cpu_ms_per_answer=1.5, unanswered=1)
