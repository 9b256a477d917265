"""Train a Mixer from scratch, resumably, and publish it.

    python -m trainer.train cifar10 --data.path <folder>

Started again with the same run folder it goes on at exactly the next batch. SIGTERM and SIGINT
save a checkpoint and exit 0.
"""

import json
import logging
import shlex
import signal
import sys
from dataclasses import asdict

import tyro
from rich.console import Console

from model_store.allocator import keep_freed_memory
from model_store.errors import StoreError
from trainer.checkpoints import CheckpointError
from trainer.config import TrainConfig
from trainer.configs import cifar10
from trainer.data import DataError
from trainer.evaluation import Evaluation
from trainer.progress import TrainingProgress
from trainer.publish import publish_run
from trainer.run import TrainingDiverged, TrainingRun

RECIPES = {"cifar10": ("a small Mixer on CIFAR-10, from scratch", cifar10.CONFIG)}


class StopRequest:
    """Set by SIGTERM or SIGINT; asked between steps."""

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request)

    def _request(self, _number: int, _frame: object) -> None:
        self.requested = True


def train(config: TrainConfig, stop: StopRequest, console: Console) -> None:
    """Run the training to its end or to the stop request; at its end, evaluate and publish."""
    with TrainingRun(config) as run:
        console.print(
            f"{config.model.parameter_count:,} parameters, {len(run.train_set)} images, "
            f"step {run.done} of {run.total_steps}"
        )
        _take_steps(run, stop, console)
        run.save()
        if not run.finished:
            console.print(f"stopped at step {run.done}: the same command goes on from here")
            return
        result = run.evaluate()
        console.print(f"test accuracy {result.accuracy:.4f} after {run.elapsed_s:.0f} s")
        if config.publish_to is not None:
            command = shlex.join(["python", "-m", "trainer.train", *sys.argv[1:]])
            console.print(f"published {publish_run(run, result, command=command)}")


def _take_steps(run: TrainingRun, stop: StopRequest, console: Console) -> None:
    config = run.config
    with TrainingProgress(
        done=run.done, total=run.total_steps, batch_size=config.batch_size, console=console
    ) as progress:
        while not (run.finished or stop.requested):
            loss, time = float(run.advance().loss), run.step_time
            progress.advance(loss, step_s=time.total_s, data_wait_s=time.data_wait_s)
            if run.done % config.checkpoint_every_steps == 0:
                run.save()
            epoch, rest = divmod(run.done, run.steps_per_epoch)
            if rest == 0 and epoch % config.evaluate_every_epochs == 0:
                _log_epoch(run, epoch, run.evaluate(), progress)


def _log_epoch(
    run: TrainingRun, epoch: int, result: Evaluation, progress: TrainingProgress
) -> None:
    row = {
        "epoch": epoch,
        "step": run.done,
        "train_loss": progress.loss,
        "images_per_second": progress.images_per_second,
        "data_wait_share": progress.data_wait_share,
        "elapsed_s": run.elapsed_s,
        "test": asdict(result),
    }
    with (run.config.run_dir / "log.jsonl").open("a") as log:
        log.write(json.dumps(row) + "\n")
    progress.line(
        f"epoch {epoch}/{run.config.epochs}  train loss {progress.loss:.3f}  "
        f"test loss {result.loss:.3f}  test accuracy {result.accuracy:.4f}  "
        f"{progress.images_per_second:.0f} images/s"
    )


def main() -> int:
    """Run the command line; return its exit code."""
    config = tyro.extras.overridable_config_cli(RECIPES)
    keep_freed_memory()
    # Below orbax these log tracebacks of the errors that this program reports in one line.
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    console = Console()
    try:
        train(config, StopRequest(), console)
    except (
        CheckpointError,
        DataError,
        StoreError,
        TrainingDiverged,
        OSError,
        ValueError,
    ) as error:
        Console(stderr=True, soft_wrap=True).print(
            f"trainer: {error}", highlight=False, markup=False
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
