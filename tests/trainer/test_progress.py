import io
import math

import pytest
from rich.console import Console

from trainer.progress import TrainingProgress


def progress_on(output: io.StringIO) -> TrainingProgress:
    return TrainingProgress(done=0, total=10, batch_size=4, console=Console(file=output, width=20))


def advance(progress: TrainingProgress, loss: float, step_s: float = 1.0) -> None:
    progress.advance(loss, step_s=step_s, data_wait_s=0.25)


def test_loss_is_smoothed_without_bias_towards_zero() -> None:
    progress = progress_on(io.StringIO())
    assert math.isnan(progress.loss)
    advance(progress, 3.0)
    assert progress.loss == pytest.approx(3.0)
    advance(progress, 1.0)
    assert progress.loss == pytest.approx((0.98 * 3.0 + 1.0) / 1.98)


def test_data_wait_is_a_share_of_the_steps_since_the_last_line() -> None:
    progress = progress_on(io.StringIO())
    assert progress.data_wait_share == 0
    advance(progress, 1.0, step_s=0.5)
    advance(progress, 1.0, step_s=4.5)
    assert progress.data_wait_share == pytest.approx(0.1)
    progress.line("an epoch ends")
    assert progress.data_wait_share == 0
    advance(progress, 1.0, step_s=0.5)
    assert progress.data_wait_share == pytest.approx(0.5)


def test_bar_shows_the_data_wait() -> None:
    output = io.StringIO()
    console = Console(file=output, width=200, force_terminal=True)
    with TrainingProgress(done=0, total=10, batch_size=4, console=console) as progress:
        advance(progress, 1.0, step_s=2.5)
    assert "data wait 10%" in output.getvalue()


def test_where_there_is_no_terminal_lines_alone_are_written_each_whole() -> None:
    output = io.StringIO()
    with progress_on(output) as progress:
        advance(progress, 1.0)
        progress.line("longer than the console is wide [1/2]")
    assert output.getvalue() == "longer than the console is wide [1/2]\n"
