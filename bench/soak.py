"""The service under steady load: whether it holds more memory, files or threads with time."""

from collections.abc import Sequence

from bench.job import Job
from bench.processes import Held, held
from bench.rows import Row

CLIENTS = 32
MINUTE_S = 60.0
PART = "soak"


def measure(job: Job, *, variant: str = "S/32", minutes: int = 10) -> list[Row]:
    """Return what the server holds after each minute under load, and the last over the first."""
    with job.server(job.publish(variant)) as server:
        after, rates = list[Held](), list[float]()
        for _ in range(minutes):
            result = job.generator.closed(server.url, CLIENTS, MINUTE_S)
            rates.append(result["throughput_per_s"])
            after.append(held(server.pid))
    return rows(after, rates, f"python -m bench soak --variants {variant} --minutes {minutes}")


def rows(after: Sequence[Held], rates: Sequence[float], command: str) -> list[Row]:
    """Return a row for each minute's memory, and what changed from the first to the last."""

    def row(series: str, unit: str, value: float, minute: int | None = None) -> Row:
        return Row(PART, series, unit, (value,), command, minute, "minute" if minute else "")

    first, last = after[0], after[-1]
    each = [
        row("resident", "MiB", now.resident_bytes / 2**20, minute)
        for minute, now in enumerate(after, 1)
    ]
    return [
        *each,
        row(
            "resident, last minute over first", "ratio", last.resident_bytes / first.resident_bytes
        ),
        row("files, last minute less first", "files", last.files - first.files),
        row("threads, last minute less first", "threads", last.threads - first.threads),
        row("throughput, last minute over first", "ratio", rates[-1] / rates[0]),
    ]
