import urllib.request
from pathlib import Path

import pytest

from loadtest.mix import RESULTS, locust_command, main, service


@pytest.fixture(autouse=True)
def start_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXER_BUCKETS", "1")


def test_the_service_is_ready_and_ends(tmp_path: Path) -> None:
    with service(tmp_path / "log") as url, urllib.request.urlopen(f"{url}/readyz") as answer:
        assert answer.status == 200
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/readyz")


def test_the_command_leaves_what_is_judged(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1"
    command = locust_command(url, tmp_path, users=3, run_time_s=7, shape="ramp")
    assert (tmp_path / "mix").as_posix() in command
    assert {str(tmp_path / "tally.json"), str(tmp_path / "mix.html"), url, "7s"} <= set(command)


def test_without_a_service_nothing_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIXER_BUCKETS", "none")
    for name in RESULTS:
        (tmp_path / name).write_text("of an earlier run, in which all was well")
    assert main(["--out", str(tmp_path)]) == 2
    assert "did not become ready; its log is" in capsys.readouterr().err
    assert "MIXER_BUCKETS" in (tmp_path / "service.log").read_text()
    assert not any((tmp_path / name).exists() for name in RESULTS)
