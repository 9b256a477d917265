"""Several processes, on one or many hosts, that train as one (`jax.distributed`)."""

import jax
import numpy as np
from jax.experimental import multihost_utils

from trainer.config import HostsConfig


def join(config: HostsConfig) -> None:
    """Meet the other processes; must come before the first array.

    Raises:
        ValueError: the numbers do not fit each other.
    """
    if not 0 <= config.process < config.processes:
        msg = f"hosts.process {config.process} is not in 0 to {config.processes - 1}"
        raise ValueError(msg)
    if config.processes > 1:
        jax.distributed.initialize(
            coordinator_address=config.coordinator,
            num_processes=config.processes,
            process_id=config.process,
        )


def is_first() -> bool:
    """Whether this process is the one that logs and publishes."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process; all must ask at the same step."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))
