"""Train a Mixer, resumably, and publish it.

    python -m trainer.train cifar10 --data.path <folder>

Started again with the same run folder it goes on at exactly the next batch. SIGTERM and SIGINT
save a checkpoint and exit 0.
"""

import json
import shlex
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console

from trainer.command import run_command
from trainer.config import TrainConfig
from trainer.configs import cifar10, paper
from trainer.evaluation import Evaluation
from trainer.events import RunEvents
from trainer.hosts import any_process, is_first, join
from trainer.progress import TrainingProgress
from trainer.publish import publish_run
from trainer.records import LOG_FILE, record_evaluation, record_start
from trainer.report import write_report
from trainer.run import TrainingRun

RECIPES = {
    "cifar10": ("a small Mixer on CIFAR-10, from scratch", cifar10.FROM_SCRATCH),
    "cifar10-again": ("the same from where that ended, regularised more", cifar10.AGAIN),
    **paper.RECIPES,
}


class StopRequest:
    """Set by SIGTERM or SIGINT; asked between steps."""

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request)

    def _request(self, _number: int, _frame: object) -> None:
        self.requested = True


def train(config: TrainConfig, stop: StopRequest, console: Console) -> Evaluation | None:
    """Run the training to its end or to the stop request; at its end, evaluate and publish.

    Returns the final measures, or None if it was asked to stop before.
    """
    with TrainingRun(config) as run:
        if is_first():
            record_start(run)
        console.print(
            f"{config.model.parameter_count:,} parameters, "
            f"{config.model.forward_cost.flops / 1e9:.3g} GFLOPs an image, "
            f"{len(run.train_set)} images, step {run.done} of {run.total_steps}"
        )
        if not run.finished:
            _take_steps(run, stop, console)
        run.save()
        if not run.finished:
            console.print(f"stopped at step {run.done}: the same command goes on from here")
            return None
        # All processes take part in these two, whatever only the first one does with them.
        result, parameters = record_evaluation(run), run.parameters()
        if is_first():
            _conclude(run, parameters, result, console)
        return result


def _conclude(
    run: TrainingRun, parameters: dict[str, np.ndarray], result: Evaluation, console: Console
) -> None:
    config = run.config
    console.print(
        f"{config.evaluate_on} accuracy {result.accuracy:.4f} after {run.elapsed_s:.0f} s"
    )
    if config.publish_to is not None:
        program = Path(sys.argv[0]).stem
        command = shlex.join(["python", "-m", f"trainer.{program}", *sys.argv[1:]])
        console.print(f"published {publish_run(run, parameters, result, command=command)}")
    console.print(f"report {write_report(config.run_dir)}", markup=False)


def _take_steps(run: TrainingRun, stop: StopRequest, console: Console) -> None:
    config = run.config
    with (
        TrainingProgress(
            done=run.done, total=run.total_steps, batch_size=config.batch_size, console=console
        ) as progress,
        RunEvents(run) as events,
    ):
        while not (run.finished or any_process(stop.requested)):
            epoch = int(run.epochs)
            report, time = run.advance(), run.step_time
            progress.advance(float(report.loss), step_s=time.total_s, data_wait_s=time.data_wait_s)
            events.step(report)
            if run.done % config.checkpoint_every_steps == 0:
                run.save()
            if int(run.epochs) > epoch and int(run.epochs) % config.evaluate_every_epochs == 0:
                result = record_evaluation(run)
                events.evaluation(result)
                if is_first():
                    _log_epoch(run, result, progress)


def _log_epoch(run: TrainingRun, result: Evaluation, progress: TrainingProgress) -> None:
    epoch = int(run.epochs)
    row = {
        "epoch": epoch,
        "step": run.done,
        "train_loss": progress.loss,
        "images_per_second": progress.images_per_second,
        "data_wait_share": progress.data_wait_share,
        "elapsed_s": run.elapsed_s,
        "test": asdict(result),
    }
    with (run.config.run_dir / LOG_FILE).open("a") as log:
        log.write(json.dumps(row) + "\n")
    progress.line(
        f"epoch {epoch}, step {run.done}/{run.total_steps}  train loss {progress.loss:.3f}  "
        f"test loss {result.loss:.3f}  test accuracy {result.accuracy:.4f}  "
        f"{progress.images_per_second:.0f} images/s"
    )


def main() -> int:
    """Run the command line; return its exit code."""
    config = tyro.extras.overridable_config_cli(RECIPES)

    def work(console: Console) -> None:
        join(config.hosts)
        train(config, StopRequest(), console)

    return run_command(work)


if __name__ == "__main__":
    sys.exit(main())
