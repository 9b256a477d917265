import io
import json
import math
from dataclasses import replace

from rich.console import Console

from model_store.preprocess import Preprocessing
from trainer.calibration import ReliabilityBin
from trainer.evaluation import Evaluation
from trainer.evaluation_report import EvaluationReport, print_summary
from trainer.real_labels import RealAccuracy

REPORT = EvaluationReport(
    version="tiny@3",
    split="train",
    pipeline="resize-crop",
    preprocessing=Preprocessing(
        resize="squash", resize_size=9, crop_size=8, filter="bilinear", antialias=False
    ),
    measures=Evaluation(
        images=20, accuracy=0.65, top5_accuracy=0.95, loss=1.25, calibration_error=0.1
    ),
    reliability_bins=(
        ReliabilityBin(0.25, 0.5, 5, 0.4, 0.2),
        ReliabilityBin(0.75, 1, 15, 0.9, 0.8),
    ),
    classes=("ant", "[red]", "cat", "dog"),
    class_accuracies=[0.75, 0.5, math.nan, 1.0],
    confusion=[[6, 0, 0, 2], [3, 5, 2, 0], [0, 0, 0, 0], [0, 0, 0, 2]],
    real=RealAccuracy(labelled_images=18, accuracy=0.8125),
)


def summary(report: EvaluationReport) -> list[str]:
    output = io.StringIO()
    print_summary(report, Console(file=output, soft_wrap=True, width=100))
    return output.getvalue().splitlines()


def test_summary_says_what_was_measured_and_how() -> None:
    assert summary(REPORT)[:4] == [
        "tiny@3: accuracy 0.6500, top-5 0.9500, loss 1.2500 on 20 images",
        "calibration error 0.1000, mean confidence 0.7750",
        "resize-crop pipeline: squash to 9, crop 8, bilinear without antialias; train split",
        "ReaL accuracy 0.8125 on 18 labelled images",
    ]


def test_summary_without_real_labels_does_not_speak_of_them() -> None:
    assert not any("ReaL" in line for line in summary(replace(REPORT, real=None)))


def test_worst_classes_come_first_and_perfect_or_empty_ones_not_at_all() -> None:
    rows = [line.strip("│ ").split() for line in summary(REPORT) if line.startswith("│")]
    cells = [[cell for cell in row if cell != "│"] for row in rows]
    assert cells == [
        ["[red]", "10", "0.5000", "ant", "(30.0%)"],
        ["ant", "8", "0.7500", "dog", "(25.0%)"],
    ]


def test_worst_classes_are_five_at_most() -> None:
    classes = tuple(f"class {i}" for i in range(7))
    confusion = [[1 if column != row else 0 for column in range(7)] for row in range(7)]
    wrong = replace(REPORT, classes=classes, class_accuracies=[0.0] * 7, confusion=confusion)
    assert sum(line.startswith("│") for line in summary(wrong)) == 5


def test_json_holds_everything_and_no_nan() -> None:
    found = json.loads(REPORT.to_json(), parse_constant=lambda name: 1 / 0)
    assert found["version"] == "tiny@3"
    assert found["split"] == "train"
    assert found["pipeline"] == "resize-crop"
    assert found["preprocessing"] == REPORT.preprocessing.model_dump(mode="json")
    assert found["measures"]["calibration_error"] == 0.1
    assert found["reliability_bins"][1] == {
        "lower": 0.75,
        "upper": 1,
        "count": 15,
        "confidence": 0.9,
        "accuracy": 0.8,
    }
    assert found["classes"] == ["ant", "[red]", "cat", "dog"]
    assert found["class_accuracies"] == [0.75, 0.5, None, 1.0]
    assert found["confusion"] == REPORT.confusion
    assert found["real"] == {"labelled_images": 18, "accuracy": 0.8125}
