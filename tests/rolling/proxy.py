"""haproxy on loopback: it knows the instances by their /readyz alone, and retries nothing."""

import csv
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx

# "tcp" joins connections, as a Kubernetes Service does, and "http" requests, as an Ingress does.
Mode = Literal["tcp", "http"]

# No `redispatch` and no `retry-on`, and not the three attempts to connect that are the default:
# what an instance loses, its client loses. `http-reuse always` sends any request on any connection
# that is kept to an instance, so that a close at the wrong time is met.
CONFIG = """
global
  log stdout format raw local0

defaults
  log global
  option dontlog-normal
  retries 0
  timeout connect 5s
  timeout client 90s
  timeout server 90s
  timeout check 2s

frontend clients
  mode {mode}
  option {mode}log
  bind 127.0.0.1:{port}
  default_backend mixer

backend mixer
  mode {mode}
  balance roundrobin
  {reuse}
  option httpchk GET /readyz
  http-check expect status 200
  default-server check inter {probe_interval_ms}ms fall {probe_failures} rise 1
{servers}

frontend statistics
  mode http
  bind 127.0.0.1:{statistics_port}
  stats enable
  stats uri /
"""


@dataclass(frozen=True)
class Probes:
    """How the proxy asks: an instance that fails so often in a row gets nothing more."""

    interval_ms: int = 500
    failures: int = 2


@dataclass(frozen=True)
class Counts:
    """What the proxy says of one instance."""

    up: bool
    sessions: int
    retries: int  # of connecting; a proxy that retries would hide what this test counts


class Proxy:
    """A running haproxy."""

    def __init__(self, url: str, statistics_url: str) -> None:
        self.url = url
        self._statistics_url = f"{statistics_url}/;csv"

    def listens(self) -> bool:
        """Return whether it has started."""
        try:
            return bool(self.counts())
        except httpx.ConnectError:
            return False

    def counts(self) -> dict[str, Counts]:
        """Ask for every instance's state, by name."""
        told = httpx.get(self._statistics_url, timeout=60).text.removeprefix("# ")
        return {
            row["svname"]: Counts(
                row["status"] == "UP", int(row["stot"]), int(row["wretr"]) + int(row["wredis"])
            )
            for row in csv.DictReader(told.splitlines())
            if row["pxname"] == "mixer" and row["svname"] != "BACKEND"
        }


def configuration(
    mode: Mode, servers: Mapping[str, str], probes: Probes, *, port: int, statistics_port: int
) -> str:
    """Return haproxy's configuration file; `servers` are `host:port` by name."""
    lines = (f"  server {name} {address}" for name, address in servers.items())
    return CONFIG.format(
        mode=mode,
        port=port,
        reuse="http-reuse always" if mode == "http" else "",
        probe_interval_ms=probes.interval_ms,
        probe_failures=probes.failures,
        servers="\n".join(lines),
        statistics_port=statistics_port,
    )


@contextmanager
def proxy(
    folder: Path, mode: Mode, servers: Mapping[str, str], probes: Probes, ports: tuple[int, int]
) -> Iterator[Proxy]:
    """Run haproxy until the block ends; its configuration and log stay in the folder."""
    port, statistics_port = ports
    file, log = folder / "haproxy.cfg", folder / "haproxy.log"
    file.write_text(
        configuration(mode, servers, probes, port=port, statistics_port=statistics_port)
    )
    with (
        log.open("w") as output,
        subprocess.Popen(["haproxy", "-db", "-f", str(file)], stdout=output, stderr=output) as run,
    ):
        try:
            started = Proxy(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{statistics_port}")
            while not started.listens():
                assert run.poll() is None, log.read_text()
            yield started
        finally:
            run.terminate()
