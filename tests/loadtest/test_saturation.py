import asyncio
import json
from pathlib import Path

import pytest

from loadtest.result import LoadResult
from loadtest.saturation import main, sweep, write
from tests.loadtest.answering import answering


def swept(rates_per_s: list[float]) -> list[LoadResult]:
    async def run() -> list[LoadResult]:
        async with answering() as (target, _):
            requests = [target.request(b"x")]
            return await sweep(target, requests, rates_per_s, duration_s=0.2, limit_s=30, seed=1)

    return asyncio.run(asyncio.wait_for(run(), 20))


def test_each_rate_is_measured() -> None:
    low, high = swept([20, 200])
    assert low.offered_per_s < high.offered_per_s
    assert (low.answered, high.answered) == (low.requests, high.requests)
    assert high.limit_ms == 30_000


def test_the_file_ascends(tmp_path: Path) -> None:
    results, file = swept([200, 20]), tmp_path / "saturation.json"
    write(results, file)
    offered = [result["offered_per_s"] for result in json.loads(file.read_text())]
    assert offered == [results[1].offered_per_s, results[0].offered_per_s]


def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--images", str(tmp_path), "--rates", "1", "--json", str(tmp_path / "x")]
    assert main(["--url", "http://192.0.2.7/", *options]) == 2
    assert "not this machine" in capsys.readouterr().err
    assert main(["--url", "http://127.0.0.1:9/", *options]) == 2
    assert "requests is empty" in capsys.readouterr().err
