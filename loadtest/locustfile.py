"""The mix of users under a shape: `locust -f loadtest/locustfile.py --headless --shape ramp …`.

`--users` is the most users, `--run-time` the whole duration. With `--tally` the sums of the
Server-Timing headers are written beside Locust's own files, for `loadtest.slo`.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from locust import LoadTestShape, events
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtest.shapes import SHAPES, users_at
from loadtest.tally import Tally
from loadtest.users import ClassifyUser, EmbedUser, FewShotUser, HostileUser

__all__ = ["ClassifyUser", "EmbedUser", "FewShotUser", "HostileUser", "Mix"]

SPAWN_PER_S = 10
DEFAULT_USERS, DEFAULT_RUN_TIME_S = 10, 120


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    """Declare what Locust does not know."""
    parser.add_argument("--shape", choices=sorted(SHAPES), default="soak")
    parser.add_argument("--limit-ms", type=float, default=500, help="latest useful answer")
    parser.add_argument("--tally", default="", help="JSON file for goodput and Server-Timing")


class Mix(LoadTestShape):
    """The chosen shape, as Locust asks for it once a second."""

    use_common_options = True

    def tick(self) -> tuple[int, float] | None:
        """Return the users of this moment, or None when the run is over."""
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        users = options.num_users or DEFAULT_USERS
        run_time_s = options.run_time or DEFAULT_RUN_TIME_S
        count = users_at(SHAPES[options.shape](users, run_time_s), self.get_run_time())
        return None if count is None else (count, SPAWN_PER_S)


@events.init.add_listener
def keep_tally(environment: Environment, **_: Any) -> None:
    """Count every request; workers send their counts to the master, which writes them."""
    options = environment.parsed_options
    assert isinstance(options, Namespace)
    tally = Tally(options.limit_ms)

    def count(
        name: str, response_time: float, exception: Exception | None, response: Any = None, **_: Any
    ) -> None:
        timing = None if response is None else response.headers.get("Server-Timing")
        tally.add(name, response_time, timing, failed=exception is not None)

    def send(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001  Locust names them
        data["tally"] = tally.take()

    def receive(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001
        tally.merge(data["tally"])

    def write(**_: Any) -> None:
        total = environment.stats.total
        duration_s = (total.last_request_timestamp or 0) - (total.start_time or 0)
        tally.write(Path(options.tally), duration_s)

    environment.events.request.add_listener(count)
    environment.events.report_to_master.add_listener(send)
    environment.events.worker_report.add_listener(receive)
    if options.tally and not isinstance(environment.runner, WorkerRunner):
        environment.events.quit.add_listener(write)
