import pytest

from tests.rolling.proxy import Mode, Probes, configuration

PROBES = Probes(interval_ms=250, failures=3)
SERVERS = {"a": "127.0.0.2:8100", "b": "127.0.0.3:8200"}


@pytest.mark.parametrize("mode", ["tcp", "http"])
def test_the_proxy_hides_no_failure(mode: Mode) -> None:
    text = configuration(mode, SERVERS, PROBES, port=80, statistics_port=81)
    assert "\n  retries 0\n" in text
    assert "redispatch" not in text
    assert "retry-on" not in text


@pytest.mark.parametrize("mode", ["tcp", "http"])
def test_every_instance_is_probed(mode: Mode) -> None:
    text = configuration(mode, SERVERS, PROBES, port=80, statistics_port=81)
    assert "option httpchk GET /readyz" in text
    assert "default-server check inter 250ms fall 3 rise 1\n" in text
    assert "  server a 127.0.0.2:8100\n  server b 127.0.0.3:8200\n" in text
