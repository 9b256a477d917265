import base64
import io
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image
from pydantic import JsonValue

from tests.trainer.conftest import Finished
from tests.trainer.tiny import CLASSES, command_line
from trainer import report
from trainer.records import EVALUATION_FILE, LOG_FILE, START_FILE
from trainer.report import REPORT_FILE, flatten, inline_svg, render_report, write_report

HOSTILE = '<script>alert("x")</script>'
VOID = {"meta", "img"}


class Page(HTMLParser):
    """The elements of a page: tags, attributes, and the text outside of `<style>`.

    Every element must be closed, in the right order.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open and data.strip():
            self.texts.append(data.strip())

    def values(self, name: str) -> list[str]:
        """Return the values of this attribute over the page."""
        return [value for found, value in self.attributes if found == name]


@pytest.fixture(scope="module")
def run_dir(finished: Finished) -> Path:
    return finished.store.parent / "run"


@pytest.fixture(scope="module")
def page(run_dir: Path) -> Page:
    """The page that the training has written at its end."""
    return Page((run_dir / REPORT_FILE).read_text())


@pytest.fixture
def copied(run_dir: Path, tmp_path: Path) -> Path:
    """A copy of the run's folder without the checkpoints, to change."""
    ignored = shutil.ignore_patterns("checkpoints", "tensorboard")
    return shutil.copytree(run_dir, tmp_path / "run", ignore=ignored)


def test_finished_training_has_reported_everything(page: Page) -> None:
    assert [tag for tag in ("h1", "main", "title") if page.tags[tag] == 0] == []
    titles = ("Loss by step", "Test accuracy by step", "Reliability: ", "Confusion: ")
    for title in titles:
        assert any(text.startswith(title) for text in page.texts), title
    assert page.tags["svg"] == len(titles)
    assert set(CLASSES) <= set(page.texts)


def test_page_names_settings_and_environment(page: Page, run_dir: Path) -> None:
    start = json.loads((run_dir / START_FILE).read_text())
    settings = dict(zip(page.texts, page.texts[1:], strict=False))
    assert settings["optimiser.warmup_steps"] == "5"
    assert settings["model.token_mlp_width"] == "5"
    assert settings["augment.mixup"] == "0.1"
    assert settings["packages.jax"] == start["environment"]["packages"]["jax"]
    assert settings["machine"] == start["environment"]["machine"]
    assert start["command"] in page.texts


def test_page_shows_the_newest_measures(page: Page, run_dir: Path) -> None:
    measures = json.loads((run_dir / EVALUATION_FILE).read_text())["measures"]
    for name, value in measures.items():
        shown = page.texts[page.texts.index(name.replace("_", " ")) + 1]
        assert float(shown) == pytest.approx(value, abs=5e-5)


def test_page_embeds_the_weight_pictures(page: Page, run_dir: Path) -> None:
    prefix = "data:image/png;base64,"
    shown = [base64.b64decode(source.removeprefix(prefix)) for source in page.values("src")]
    files = [
        run_dir / "pictures" / f"{n}.png" for n in ("stem", "token_mixing_0", "token_mixing_1")
    ]
    assert shown == [file.read_bytes() for file in files]
    assert all(len(alt) > 10 for alt in page.values("alt"))
    with Image.open(io.BytesIO(shown[0])) as image:
        image.verify()


def test_page_loads_nothing_and_runs_nothing(page: Page, run_dir: Path) -> None:
    text = (run_dir / REPORT_FILE).read_text()
    assert re.search(r"https?:|@import", text) is None
    assert not page.tags.keys() & {"script", "link", "iframe", "object", "embed", "base"}
    references = [*page.values("src"), *page.values("href"), *page.values("xlink:href")]
    assert references
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in references)
    assert not [name for name, _ in page.attributes if name.startswith("on")]


def test_ids_are_unique_and_references_resolve(page: Page, run_dir: Path) -> None:
    ids = Counter(page.values("id"))
    assert {name for name, count in ids.items() if count > 1} == set()
    text = (run_dir / REPORT_FILE).read_text()
    targets = re.findall(r'(?:href="#|url\(#)([^")]+)', text) + page.values("aria-labelledby")
    assert targets
    assert set(targets) <= ids.keys()


def test_hostile_names_are_text(copied: Path) -> None:
    for name in (EVALUATION_FILE, START_FILE):
        text = (copied / name).read_text()
        text = text.replace('"green"', json.dumps(HOSTILE)).replace("uint8", HOSTILE)
        (copied / name).write_text(text)
    start = json.loads((copied / START_FILE).read_text())
    start["command"] = start["config"]["publish_as"] = HOSTILE
    start["environment"]["machine"] = HOSTILE
    (copied / START_FILE).write_text(json.dumps(start))
    hostile_dir = copied.rename(copied.parent / "<script>")
    page = Page(render_report(hostile_dir))
    assert "script" not in page.tags
    # On both axes of the confusion matrix, among the classes, and three times of the start.
    assert page.texts.count(HOSTILE) == 6


def test_stopped_run_has_a_page_of_what_there_is(copied: Path) -> None:
    for name in (EVALUATION_FILE, LOG_FILE):
        (copied / name).unlink()
    shutil.rmtree(copied / "pictures")
    page = Page(render_report(copied))
    assert "Nothing was evaluated yet." in page.texts
    assert "No evaluation was logged yet." in page.texts
    assert (page.tags["svg"], page.tags["img"]) == (0, 0)


def test_log_alone_is_enough(copied: Path) -> None:
    (copied / START_FILE).unlink()
    page = Page(render_report(copied))
    assert "How the run was started was not recorded." in page.texts


def test_very_many_classes_have_neither_matrix_nor_table(copied: Path) -> None:
    found = json.loads((copied / EVALUATION_FILE).read_text())
    (copied / EVALUATION_FILE).write_text(json.dumps({**found, "confusion": None}))
    page = Page(render_report(copied))
    assert page.tags["svg"] == 3
    assert "Accuracy of each class" not in page.texts


def test_report_replaces_the_one_before(copied: Path) -> None:
    (copied / REPORT_FILE).write_text("an old one")
    assert write_report(copied) == copied / REPORT_FILE
    assert Page((copied / REPORT_FILE).read_text()).tags["svg"] == 4


def test_figures_of_one_page_share_no_id() -> None:
    figure = Figure()
    figure.subplots().plot([1, 2], label='a "quoted" <label>')
    first, second = (inline_svg(figure, title="<t>", name=name) for name in ("one", "two"))
    ids = [set(Page(svg).values("id")) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert "<title>&lt;t&gt;</title>" in first


def test_settings_are_flattened_to_the_names_of_options() -> None:
    nested: dict[str, JsonValue] = {
        "seed": 1,
        "data": {"path": "x", "more": {"a": [1, 2]}},
        "steps": None,
        "none": {},
    }
    assert flatten(nested) == {"seed": 1, "data.path": "x", "data.more.a": [1, 2], "steps": None}


# The command


def test_command_writes_the_page_and_prints_where(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copied / REPORT_FILE).unlink()
    with command_line(str(copied)):
        assert report.main() == 0
    assert capsys.readouterr().out == f"{copied / REPORT_FILE}\n"
    assert Page((copied / REPORT_FILE).read_text()).tags["h1"] == 1


def test_folder_without_a_run_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with command_line(str(tmp_path)):
        assert report.main() == 1
    assert capsys.readouterr().err == (
        f"trainer: {tmp_path} holds no run: neither run.json nor log.jsonl is there\n"
    )
    assert list(tmp_path.iterdir()) == []
