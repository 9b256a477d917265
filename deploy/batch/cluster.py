"""Ray: workers as actors, parts as the rows of a data set, and what they say when they are done."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.data
from ray.exceptions import RayError

from deploy.batch.failures import reason
from deploy.batch.job import JobRefused
from deploy.batch.parts import Part
from deploy.batch.worker import Done, Worker


@dataclass(frozen=True)
class Cluster:
    """Where and with how much the parts are computed."""

    address: str | None
    """Of a running cluster; None: `RAY_ADDRESS`, or Ray on this machine alone."""
    workers: int
    worker_cpus: float
    worker_gpus: float


def compute(cluster: Cluster, parts: Sequence[Part], worker: dict[str, Any]) -> Iterator[Done]:
    """Compute the parts in any order, each by a `Worker` made with `worker`; tell each when done.

    A worker whose process dies is started again, and its part with it.

    Raises:
        JobRefused: a worker refused to start, or failed on a part; what is done stays done.
    """
    ray.init(address=cluster.address, logging_level=logging.WARNING)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        # One part in a block: a part is what is lost and computed again with a process.
        rows = [{"number": part.number, "paths": "\n".join(part.paths)} for part in parts]
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            Worker,
            fn_constructor_kwargs=worker,
            compute=ray.data.ActorPoolStrategy(size=min(cluster.workers, len(rows))),
            num_cpus=cluster.worker_cpus,
            num_gpus=cluster.worker_gpus,
        )
        for row in done.iter_rows():
            yield Done(**row)
    except RayError as error:
        raise JobRefused(f"a worker failed: {reason(str(error))}") from error
    finally:
        ray.shutdown()
