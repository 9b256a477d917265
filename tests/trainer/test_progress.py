import io
import math

import pytest
from rich.console import Console

from trainer.progress import TrainingProgress


def progress_on(output: io.StringIO) -> TrainingProgress:
    return TrainingProgress(done=0, total=10, batch_size=4, console=Console(file=output, width=20))


def test_loss_is_smoothed_without_bias_towards_zero() -> None:
    progress = progress_on(io.StringIO())
    assert math.isnan(progress.loss)
    progress.advance(3.0)
    assert progress.loss == pytest.approx(3.0)
    progress.advance(1.0)
    assert progress.loss == pytest.approx((0.98 * 3.0 + 1.0) / 1.98)


def test_where_there_is_no_terminal_lines_alone_are_written_each_whole() -> None:
    output = io.StringIO()
    with progress_on(output) as progress:
        progress.advance(1.0)
        progress.line("longer than the console is wide [1/2]")
    assert output.getvalue() == "longer than the console is wide [1/2]\n"
