"""Rolling restarts under load, behind a real proxy: `make rolling-test`.

Two instances of the service behind haproxy, which asks their /readyz; a steady load through it; and
both restarted in turn as Kubernetes does it: preStop, SIGTERM, wait for the exit, start, wait until
it is ready and listed again, the next. A request fails unless its answer is 200. Exit code 0: none
failed, 1: some did.
"""

import argparse
import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import uvloop

from loadtest.target import read_target
from tests.contract.pictures import encoded, picture
from tests.rolling.instance import Instance, free_port
from tests.rolling.proxy import Mode, Probes, Proxy, proxy
from tests.rolling.report import Restart, faults, table
from tests.rolling.steady import SteadyLoad

HOSTS = {"a": "127.0.0.2", "b": "127.0.0.3"}
LISTING_S = 60.0
POLL_S = 0.05


@dataclass(frozen=True)
class Rolling:
    """What restarts whom, and how."""

    instances: Sequence[Instance]
    proxy: Proxy
    pre_stop_s: float
    grace_s: float

    def restart(self, number: int, load: SteadyLoad) -> Restart:
        """Restart one instance, each in its turn; return when the proxy has it back."""
        instance = self.instances[number % len(self.instances)]
        began_s = load.now_s()
        time.sleep(self.pre_stop_s)  # the preStop hook is a sleep
        exit_code = instance.terminate(self.grace_s)
        exited_s = load.now_s()
        instance.start()
        ready_s = load.now_s()
        self.wait_until_listed()
        return Restart(instance.name, began_s, exited_s, ready_s, load.now_s(), exit_code)

    def wait_until_listed(self) -> None:
        """Wait until the proxy has found every instance ready."""
        limit_s = time.monotonic() + LISTING_S
        while not all(counts.up for counts in self.proxy.counts().values()):
            if time.monotonic() > limit_s:
                raise TimeoutError(f"not listed again within {LISTING_S:g} s")
            time.sleep(POLL_S)


async def run(rolling: Rolling, load: SteadyLoad, restarts: int) -> list[Restart]:
    """Restart so often while the load goes on."""
    enough, done = threading.Event(), list[Restart]()
    loading = asyncio.create_task(load.run(enough))
    try:
        for number in range(restarts):
            done.append(await asyncio.to_thread(rolling.restart, number, load))
    finally:
        enough.set()
        await loading
    return done


@contextmanager
def started(options: argparse.Namespace, mode: Mode, folder: Path) -> Iterator[Rolling]:
    """Start both instances and the proxy; they share compiled programs, as pods may."""
    settings: dict[str, Any] = {
        "compile_cache_dir": folder / "compiled",
        "drain_delay_ms": options.drain_delay_ms,
        "drain_timeout_ms": options.drain_timeout_ms,
    }
    probes = Probes(options.probe_interval_ms, options.probe_failures)
    with ExitStack() as ending:
        instances = [Instance(name, host, folder, **settings) for name, host in HOSTS.items()]
        for instance in instances:
            ending.callback(instance.close)
            instance.start()
        addresses = {each.name: f"{each.host}:{each.port}" for each in instances}
        ports = free_port("127.0.0.1"), free_port("127.0.0.1")
        proxying = ending.enter_context(proxy(folder, mode, addresses, probes, ports))
        yield Rolling(instances, proxying, options.pre_stop_ms / 1e3, options.grace_s)


async def judge(options: argparse.Namespace, mode: Mode, folder: Path) -> bool:
    """Run one mode, print what came of it, and return whether no request failed."""
    with started(options, mode, folder) as rolling:
        target = read_target(f"{rolling.proxy.url}/classify")
        request = target.request(encoded(picture(size=(320, 240)), "JPEG"))
        await asyncio.to_thread(rolling.wait_until_listed)
        load = SteadyLoad(target, request, rate_per_s=options.rate, clients=options.clients)
        restarts = await run(rolling, load, options.restarts)
        counts = rolling.proxy.counts()
    print(
        f"\nhaproxy, mode {mode}, {options.rate:g} requests a second by {options.clients} clients"
    )
    print(table(load.samples, restarts))
    found = faults(load.samples, restarts, sum(each.retries for each in counts.values()))
    told = "; ".join(found) or f"no request of {len(load.samples)} failed"
    print(f"{len(restarts)} restarts: {told}", flush=True)
    return not found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    options = _parser().parse_args(arguments)
    modes = get_args(Mode) if options.mode == "both" else (options.mode,)
    with tempfile.TemporaryDirectory() as temporary:
        good = []
        for mode in modes:
            folder = (options.logs or Path(temporary)) / mode
            folder.mkdir(parents=True, exist_ok=True)
            good.append(uvloop.run(judge(options, mode, folder)))
    return 0 if all(good) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.rolling.restarts", description=__doc__)
    add = parser.add_argument
    add("--restarts", type=int, default=20, help="in all, half of them of each instance")
    add("--mode", choices=(*get_args(Mode), "both"), default="both", help="what is proxied")
    add("--rate", type=float, default=10.0, help="requests per second; one instance must bear them")
    add("--clients", type=int, default=8, help="each with keep-alive connections of its own")
    add("--pre-stop-ms", type=int, default=500, help="between the decision to stop and SIGTERM")
    add("--drain-delay-ms", type=int, default=5000, help="MIXER_DRAIN_DELAY_MS")
    add("--drain-timeout-ms", type=int, default=30_000, help="MIXER_DRAIN_TIMEOUT_MS")
    add("--grace-s", type=float, default=75.0, help="from SIGTERM to SIGKILL")
    add("--probe-interval-ms", type=int, default=500, help="between two questions to /readyz")
    add("--probe-failures", type=int, default=2, help="until an instance gets nothing more")
    add("--logs", type=Path, help="folder for the logs and the proxy's configuration")
    return parser


if __name__ == "__main__":
    sys.exit(main())
