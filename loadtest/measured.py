"""What a run measured, by name, read from the files that Locust and the open loop leave."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.tally import Row

PERCENTILES = {"p50_ms": "50%", "p90_ms": "90%", "p95_ms": "95%", "p99_ms": "99%"}
STAGES = ("decode", "queue", "device")


class BadInput(ValueError):
    """A file is absent or is not what it should be; the message names it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One name's numbers, and its mean milliseconds by stage (empty if nothing was timed).

    The stages of `spent_ms` add up to what the client waited: decode, queue, device, `rest` of the
    server (reading, writing, threads), and `outside` of it (network, sockets, the generator).
    """

    name: str
    values: dict[str, float]
    spent_ms: dict[str, float]


def read_locust(stats: Path, tally: Path) -> list[Measured]:
    """Read `…_stats.csv` (percentiles, two digits exact) and the tally beside it.

    Raises:
        BadInput: a file cannot be read, or the two are not of the same run.
    """
    lines = list(csv.DictReader(_text(stats).splitlines()))
    found = _json(tally)
    try:
        percentiles = {line["Name"]: _percentiles(line) for line in lines}
        rows = {name: Row(**row) for name, row in found["rows"].items()}
        duration_s = float(found["duration_s"])
        return [_measured(name, row, percentiles[name], duration_s) for name, row in rows.items()]
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{stats} and {tally} are not of one run of loadtest: {error!r}") from error


def _percentiles(line: dict[str, str]) -> dict[str, float]:
    columns = {key: line[column] for key, column in PERCENTILES.items()}
    return {key: float(text) for key, text in columns.items() if text != "N/A"}


def _measured(name: str, row: Row, percentiles: dict[str, float], duration_s: float) -> Measured:
    values = {
        **percentiles,
        "requests": float(row.requests),
        "error_rate": row.failures / row.requests,
        "goodput_per_s": row.within_limit / max(duration_s, 1e-9),
    }
    if row.timed == 0:
        return Measured(name, values, {})
    stages_ms = {stage: row.mean_ms(stage) for stage in (*STAGES, "total")}
    return Measured(name, values, _spent_ms(stages_ms, row.client_ms / row.timed))


def read_open_loop(file: Path) -> Measured:
    """Read the JSON of `loadtest.open_loop`; its name is `open loop` or `closed loop`.

    Raises:
        BadInput: the file cannot be read or is something else.
    """
    data = _json(file)
    try:
        latency_ms, requests = data["latency_ms"], data["requests"]
        known = {key: latency_ms[key.removesuffix("_ms")] for key in PERCENTILES}
        values = {key: float(value) for key, value in known.items() if value is not None}
        values["requests"] = float(requests)
        values["error_rate"] = 1 - data["answered"] / max(requests, 1)
        values["goodput_per_s"] = float(data["goodput_per_s"])
        means_ms = {stage: row["mean"] for stage, row in data["stages_ms"].items()}
        client_ms = means_ms.get("total", 0.0) + means_ms.get("outside", 0.0)
        return Measured(f"{data['mode']} loop", values, _spent_ms(means_ms, client_ms))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{file} is no result of loadtest.open_loop: {error!r}") from error


def _spent_ms(means_ms: dict[str, float], client_ms: float) -> dict[str, float]:
    if "total" not in means_ms:
        return {}
    spent_ms = {stage: means_ms.get(stage, 0.0) for stage in STAGES}
    spent_ms["rest"] = means_ms["total"] - sum(spent_ms.values())
    spent_ms["outside"] = client_ms - means_ms["total"]
    return spent_ms


def _json(file: Path) -> Any:
    try:
        return json.loads(_text(file))
    except json.JSONDecodeError as error:
        raise BadInput(f"{file} is no JSON: {error}") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from error
