"""What every command of the trainer does around its work: errors in one line, and exit codes."""

import logging
from collections.abc import Callable

from rich.console import Console

from model_store.allocator import keep_freed_memory
from model_store.errors import StoreError
from trainer.checkpoints import CheckpointError
from trainer.data import DataError
from trainer.run import TrainingDiverged

EXPECTED = (CheckpointError, DataError, StoreError, TrainingDiverged, OSError, ValueError)


def run_command(work: Callable[[Console], object]) -> int:
    """Do the work; return 0, or 1 after one line on standard error that says what is wrong."""
    keep_freed_memory()
    # Below orbax these log tracebacks of the errors that this program reports in one line.
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        work(Console(soft_wrap=True))
    except EXPECTED as error:
        Console(stderr=True, soft_wrap=True).print(
            f"trainer: {error}", highlight=False, markup=False
        )
        return 1
    return 0
