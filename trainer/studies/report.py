"""What a study leaves in its folder: `<name>.json`, `<name>.svg`, `<name>.md` and the index."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from pydantic import JsonValue, TypeAdapter

from trainer.environment import Environment
from trainer.files import write_atomically
from trainer.plots import svg
from trainer.studies.cache import Record
from trainer.studies.claims import POINTS, Claim
from trainer.studies.samples import Results, Sample
from trainer.studies.study import DataFacts, Study
from trainer.studies.training import Case, Result

INDEX_FILE = "README.md"


@dataclass(frozen=True)
class Run:
    """A finished training of a study."""

    case: Case
    seed: int
    record: Record


@dataclass(frozen=True)
class Finished:
    """A study all of whose trainings are done."""

    study: Study
    facts: DataFacts
    command: str
    written_at: datetime
    runs: tuple[Run, ...]

    @cached_property
    def results(self) -> Results:
        """The results by case, in the order of the trainings."""
        found: dict[Case, tuple[Result, ...]] = {}
        for run in self.runs:
            found[run.case] = (*found.get(run.case, ()), run.record.result)
        return Results(found)

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """The study's judgements."""
        return tuple(self.study.claims(self.results))

    @property
    def environments(self) -> list[Environment]:
        """Where the trainings were done, each different one once."""
        found: list[Environment] = []
        for run in self.runs:
            if run.record.environment not in found:
                found.append(run.record.environment)
        return found


def write_report(finished: Finished) -> Path:
    """Write numbers, figure, text and index, and return the path of the text."""
    out, name = finished.study.out, finished.study.name
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / f"{name}.json", json.dumps(numbers(finished), indent=1) + "\n")
    write_atomically(out / f"{name}.svg", svg(finished.study.figure(finished.results)) + "\n")
    write_atomically(out / f"{name}.md", markdown(finished))
    write_index(out)
    return out / f"{name}.md"


def numbers(finished: Finished) -> dict[str, JsonValue]:
    """Return everything that the report is made from, as JSON values."""
    study = finished.study
    settings: dict[str, JsonValue] = TypeAdapter(type(study)).dump_python(study, mode="json")
    for folder in ("data", "out", "run_dir"):
        del settings[folder]
    runs = TypeAdapter(tuple[Run, ...]).dump_python(finished.runs, mode="json")
    for run in runs:
        del run["record"]["environment"]
    return {
        "study": study.name,
        "title": study.title,
        "command": finished.command,
        "written_at": finished.written_at.isoformat(timespec="seconds"),
        "settings": settings,
        "environments": [asdict(environment) for environment in finished.environments],
        "claims": [{**asdict(claim), "verdict": claim.verdict} for claim in finished.claims],
        "runs": runs,
    }


def markdown(finished: Finished) -> str:
    """Return the text about a study."""
    study, seeds = finished.study, finished.study.seeds
    minutes = sum(run.record.result.elapsed_s for run in finished.runs) / 60
    lines = [
        f"# {study.title}",
        "",
        study.question,
        "",
        "```sh",
        finished.command,
        "```",
        "",
        f"{len(finished.runs)} trainings of {study.steps:,} steps of {study.batch_size} images, "
        f"{minutes:.0f} minutes in all, seeds {', '.join(map(str, seeds))}; "
        f"train has {finished.facts.images:,} images of {finished.facts.classes} classes. "
        f"At most {study.evaluated_images:,} images of each split are evaluated.",
        "",
        *(_environment_line(environment) for environment in finished.environments),
        "",
        f"![{study.title}]({study.name}.svg)",
        "",
        "## What held",
        "",
        "| claim of the paper | here | measured |",
        "| --- | --- | --- |",
        *(f"| {c.sentence} | **{c.verdict}** | {c.measured} |" for c in finished.claims),
        "",
        "Judged by means over the seeds; ± is half the distance from the lowest to the highest "
        "seed. Differences are taken seed by seed.",
        "",
        "## Numbers",
        "",
        *_table(finished.results),
        "",
        "Accuracies and gap (train less test) in percent, losses in nats. A tenth of a run's "
        "steps were faster than the time given, which other work disturbs little. Every run: "
        f"[{study.name}.json]({study.name}.json).",
    ]
    return "\n".join(lines) + "\n"


def _environment_line(environment: Environment) -> str:
    packages = environment.packages
    return (
        f"- {environment.machine}; {environment.devices}; Python {environment.python}, "
        f"jax {packages['jax']}, flax {packages['flax']}; "
        f"revision {(environment.code_revision or 'unknown')[:12]}"
    )


def _table(results: Results) -> list[str]:
    heads = (
        *("training", "parameters", "train accuracy", "test accuracy", "gap", "train loss"),
        *("test loss", "ms a step"),
    )
    return [
        _row(heads),
        _row(("---",) * len(heads)),
        *(_row(_cells(results, case)) for case in results.found),
    ]


def _cells(results: Results, case: Case) -> tuple[str, ...]:
    def percent(sample: Sample) -> str:
        return sample.text(2, scale=POINTS)

    return (
        ", ".join(case),
        f"{results.parameters(case):,}",
        percent(results.sample(case, lambda result: result.train.accuracy)),
        percent(results.test_accuracy(case)),
        percent(results.gap(case)),
        results.train_loss(case).text(3),
        results.sample(case, lambda result: result.test.loss).text(3),
        results.step_ms(case).text(1),
    )


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def write_index(out: Path) -> None:
    """Write the list of the studies whose numbers lie in the folder.

    Raises:
        ValueError: a file of numbers is not what a study writes.
    """
    lines = [
        "# Studies",
        "",
        "The paper's studies at small scale. Each page is written by its command, verdicts "
        "included; [training.md](../training.md) says how the networks are trained.",
        "",
        "| study | claims that held | command |",
        "| --- | --- | --- |",
        *(_index_row(file) for file in sorted(out.glob("*.json"))),
    ]
    write_atomically(out / INDEX_FILE, "\n".join(lines) + "\n")


def _index_row(file: Path) -> str:
    try:
        content = json.loads(file.read_text())
        held = [claim["held"] for claim in content["claims"]]
        name, title, command = (content[key] for key in ("study", "title", "command"))
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{file}: not what a study writes"
        raise ValueError(msg) from error
    return f"| [{title}]({name}.md) | {sum(held)} of {len(held)} | `{command}` |"
