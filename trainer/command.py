"""What every command of the trainer does around its work: errors in one line, and exit codes."""

from collections.abc import Callable

from rich.console import Console

from model_store.allocator import keep_freed_memory
from model_store.errors import StoreError
from trainer.data import DataError
from trainer.run import TrainingDiverged


def run_command(work: Callable[[Console], object]) -> int:
    """Do the work; return 0, or 1 after one line on standard error that says what is wrong."""
    keep_freed_memory()
    try:
        work(Console(soft_wrap=True))
    except (DataError, StoreError, TrainingDiverged, OSError, ValueError) as error:
        Console(stderr=True, soft_wrap=True).print(
            f"trainer: {error}", highlight=False, markup=False
        )
        return 1
    return 0
