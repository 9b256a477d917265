"""The two-minute mix of `make loadtest`: a service of its own, Locust against it, and a verdict.

Everything is left in one folder: the HTML report, Locust's CSV files, the tally, the service's log.
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from loadtest import slo

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
RESULTS = ("mix_stats.csv", "tally.json", "mix.html")
_READY = re.compile(r"ready: open (http://\S+)/docs")


class NotStarted(Exception):
    """The service or Locust did not come up; the message says where its log is."""


@contextmanager
def service(log: Path) -> Iterator[str]:
    """Run `mixer serve` on a free port; yields its URL once every model is ready."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve", "--port", "0"], stdout=output, stderr=output
        )
    try:
        yield _wait_ready(process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    # The line is written when /readyz turns 200, and names the port that the system chose.
    give_up_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < give_up_s and process.poll() is None:
        if found := _READY.search(log.read_text(encoding="utf-8")):
            return found[1]
        time.sleep(0.1)
    raise NotStarted(f"the service did not become ready; its log is {log}")


def locust_command(url: str, out: Path, *, users: int, run_time_s: int, shape: str) -> list[str]:
    """Return the command that leaves `mix_stats.csv`, `mix.html` and `tally.json` in `out`."""
    return [
        *(sys.executable, "-m", "locust", "--locustfile", "loadtest/locustfile.py", "--headless"),
        *("--host", url, "--users", str(users), "--run-time", f"{run_time_s}s", "--shape", shape),
        *("--csv", str(out / "mix"), "--html", str(out / "mix.html")),
        *("--tally", str(out / "tally.json"), "--only-summary", "--loglevel", "WARNING"),
    ]


def _run_locust(url: str, options: argparse.Namespace) -> None:
    command = locust_command(
        url,
        options.out,
        users=options.users,
        run_time_s=options.run_time_s,
        shape=options.shape,
    )
    log = options.out / "locust.log"
    with log.open("wb") as output:
        code = subprocess.run(command, stdout=output, stderr=output, check=False).returncode  # noqa: S603  our own
    # 1: a request failed, which the objectives judge.
    if code not in (0, 1):
        raise NotStarted(f"Locust ended with {code}; its log is {log}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mix; return the verdict's code: 0 met, 1 missed, 2 no verdict."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.mix", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/loadtest"))
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--run-time-s", type=int, default=120)
    parser.add_argument("--shape", default="soak")
    parser.add_argument("--objectives", type=Path, default=slo.OBJECTIVES)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in RESULTS:  # so that no earlier run is judged in place of this one
        (options.out / name).unlink(missing_ok=True)
    try:
        with service(options.out / "service.log") as url:
            print(f"{options.users} users for {options.run_time_s} s at {url}", flush=True)
            _run_locust(url, options)
    except NotStarted as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 2
    stats, tally = options.out / "mix_stats.csv", options.out / "tally.json"
    given = ["--stats", str(stats), "--tally", str(tally), "--objectives", str(options.objectives)]
    code = slo.main(given)
    print(f"report: {options.out / 'mix.html'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
