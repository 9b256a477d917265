"""What one process of Python carries, and what more front ends add, where the device costs little.

The embedded model answers about a thousand images a second on a core, so that HTTP, decoding and
writing answers are what is measured: of thumbnails, which cost nearly nothing to decode, and of
photos.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from bench.job import Job
from bench.pictures import draw_photo, encode
from bench.repetition import interleave
from bench.rows import Row
from bench.service import closed_run, run_rows

FRONTENDS = (1, 2)
CLIENTS = 64
MODEL = "cifar10-mixer"  # embedded
THUMBNAILS, THUMBNAIL_SIZE = 16, (32, 32)
PART = "frontends"


def measure(job: Job, *, frontends: Sequence[int] = FRONTENDS) -> list[Row]:
    """Return throughput, latency and CPU of each number of front ends."""
    jobs = {"thumbnails": replace(job, images=_thumbnails(job)), "photos": job}
    with ExitStack() as stack:
        servers = {
            count: stack.enter_context(job.server(MODEL, frontends=str(count)))
            for count in frontends
        }
        loads = {
            (kind, count): partial(closed_run, each, server, CLIENTS, duration_s=job.effort.seconds)
            for kind, each in jobs.items()
            for count, server in servers.items()
        }
        for warm in loads.values():
            warm()
        found = interleave(loads, job.effort.rounds)
    rows = list[Row]()
    for (kind, count), runs in found.items():
        command = f"python -m bench frontends --frontends {count}"
        rows += run_rows(PART, (f"{kind}, front ends {count}", CLIENTS), runs, command)
    return rows


def _thumbnails(job: Job) -> Path:
    folder = job.work / "thumbnails"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(THUMBNAILS):
        picture = encode(draw_photo(rng, THUMBNAIL_SIZE), "JPEG", quality=90)
        (folder / f"{number:02d}.jpg").write_bytes(picture)
    return folder
