"""One self-contained HTML page about a run: `python -m trainer.report <run folder>`.

The page is made from what the run's folder holds (`trainer.records`), so that it can be made at
any time, also of a run that is not finished. It loads nothing and runs no scripts.
"""

import base64
import html
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from pydantic import JsonValue
from rich.console import Console

from trainer.command import run_command
from trainer.curves import accuracy_figure, loss_figure
from trainer.files import write_atomically
from trainer.measures import class_accuracies
from trainer.pictures import SHOWN_BLOCKS
from trainer.plots import confusion_figure, reliability_figure, svg
from trainer.records import (
    PICTURES_FOLDER,
    LogRow,
    RunEvaluation,
    read_evaluation,
    read_log,
    read_start,
)

REPORT_FILE = "report.html"
TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Picture:
    """A figure or picture of the page: its HTML, and what it shows."""

    content: Markup
    caption: str


def write_report(run_dir: Path) -> Path:
    """Write `<run_dir>/report.html`, whole or not at all, and return its path.

    Raises:
        ValueError: the folder holds no run, or a file in it is not what a training writes.
    """
    file = run_dir / REPORT_FILE
    write_atomically(file, render_report(run_dir))
    return file


def render_report(run_dir: Path) -> str:
    """Return the page about the run in this folder.

    Raises:
        ValueError: as `write_report`.
    """
    start, evaluation, rows = read_start(run_dir), read_evaluation(run_dir), read_log(run_dir)
    if start is None and not rows:
        msg = f"{run_dir} holds no run: neither run.json nor log.jsonl is there"
        raise ValueError(msg)
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template(TEMPLATE).render(
        name=run_dir.absolute().name,
        nan=math.nan,
        now=datetime.now(UTC),
        start=start,
        settings=flatten(start.config) if start else {},
        environment=flatten(asdict(start.environment)) if start else {},
        rows=rows,
        curves=_curves(rows),
        evaluation=evaluation,
        figures=_figures(evaluation) if evaluation else [],
        classes=_classes(evaluation) if evaluation else [],
        weights=_weights(run_dir / PICTURES_FOLDER),
    )


def flatten(settings: Mapping[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    """Return nested settings under dotted names: {"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: dict[str, JsonValue] = {}
    for name, value in settings.items():
        inner = flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else None
        flat |= {prefix + name: value} if inner is None else inner
    return flat


def inline_svg(figure: Figure, *, title: str, name: str) -> Markup:
    """Return the figure as an `<svg>` element for a page that holds several.

    Args:
        figure: what to draw.
        title: what it shows, for those who hear the page.
        name: prefix of its ids, which must differ from those of the page's other figures.
    """
    text = re.sub(r"<metadata>.*?</metadata>", "", svg(figure), flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    opening, content = text.split(">", 1)
    title = f"<title>{html.escape(title)}</title>"
    # matplotlib escapes the texts of a figure.
    return Markup(f'{opening} role="img">{title}{content}')  # noqa: S704


def _curves(rows: tuple[LogRow, ...]) -> list[Picture]:
    if not rows:
        return []
    loss, accuracy = "Loss by step", "Test accuracy by step"
    return [
        Picture(inline_svg(loss_figure(rows), title=loss, name="loss"), loss),
        Picture(inline_svg(accuracy_figure(rows), title=accuracy, name="accuracy"), accuracy),
    ]


def _figures(evaluation: RunEvaluation) -> list[Picture]:
    caption = "Reliability: accuracy against confidence"
    drawn = reliability_figure(evaluation.reliability_bins)
    figures = [Picture(inline_svg(drawn, title=caption, name="reliability"), caption)]
    if evaluation.confusion is not None:
        caption = "Confusion: images by true and predicted class"
        drawn = confusion_figure(np.array(evaluation.confusion), evaluation.classes)
        figures.append(Picture(inline_svg(drawn, title=caption, name="confusion"), caption))
    return figures


def _classes(evaluation: RunEvaluation) -> list[tuple[str, int, float]]:
    """Return name, images and accuracy of each class."""
    if evaluation.confusion is None:
        return []
    confusion_NxN = np.array(evaluation.confusion)
    images_N, accuracies_N = confusion_NxN.sum(axis=1), class_accuracies(confusion_NxN)
    return list(zip(evaluation.classes, images_N.tolist(), accuracies_N.tolist(), strict=True))


def _weights(folder: Path) -> list[Picture]:
    captions = {"stem": "Filters of the stem, each scaled by its largest weight"} | {
        f"token_mixing_{i}": f"Token-mixing units of block {i}, each beside the unit closest to "
        "its inverse, from low to high frequency"
        for i in range(SHOWN_BLOCKS)
    }
    files = {folder / f"{name}.png": caption for name, caption in captions.items()}
    return [
        Picture(_image(file, caption), caption) for file, caption in files.items() if file.exists()
    ]


def _image(file: Path, caption: str) -> Markup:
    data = base64.b64encode(file.read_bytes()).decode()
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(caption, data)


def report(run_dir: Annotated[Path, tyro.conf.Positional], /) -> Path:
    """Write report.html into the folder of a run, from what the folder holds now.

    Args:
        run_dir: folder of the run, as its setting of that name.
    """
    file = write_report(run_dir)
    Console(soft_wrap=True).print(str(file), highlight=False, markup=False)
    return file


def main() -> int:
    """Run the command line; return its exit code."""
    return run_command(lambda _: tyro.cli(report))


if __name__ == "__main__":
    sys.exit(main())
