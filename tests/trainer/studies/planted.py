"""Results of trainings that nobody did, with the numbers that a test wants, and drawn bars."""

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from trainer.evaluation import Evaluation
from trainer.studies.training import CurvePoint, Result


def planted(
    test: float,
    train: float = 0.9,
    *,
    train_loss: float = 0.3,
    curve: tuple[float, ...] = (),
    step_ms: float = 5.0,
) -> Result:
    points = tuple(CurvePoint(10 * i, accuracy, 1.0) for i, accuracy in enumerate(curve, start=1))
    return Result(
        parameters=123,
        train=Evaluation(40, train, 1.0, train_loss, 0.1),
        test=Evaluation(20, test, 1.0, 1.5, 0.2),
        curve=points,
        step_ms=step_ms,
        elapsed_s=60.0,
    )


def bar_heights(axes: Axes) -> list[float]:
    return [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]
