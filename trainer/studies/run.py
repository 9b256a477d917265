"""Run a study: what is missing of its trainings, then the report."""

import shlex
import sys
from collections.abc import Iterable
from datetime import UTC, datetime

from rich.console import Console

from trainer.data import load_dataset
from trainer.environment import environment
from trainer.studies.cache import Cache, Record, training_settings
from trainer.studies.report import Finished, Run, write_report
from trainer.studies.study import DataFacts, Study
from trainer.studies.training import Trainer, Training


def run_study(study: Study, console: Console) -> Finished:
    """Do the trainings that are not yet done, and write the report into the study's folder.

    Raises:
        DataError: the data set does not fit.
        TrainingDiverged: a loss became NaN or infinite; what is finished is kept.
        ValueError: settings that fit neither each other nor the data.
    """
    study.check()
    path = study.data.path
    train_set, test_set = load_dataset(path, "train"), load_dataset(path, "test")
    digests = {"train": train_set.digest(), "test": test_set.digest()}
    facts = DataFacts(len(train_set), len(train_set.classes))
    trainings = [each for one in study.trainings(facts) for each in study.over_seeds(one)]
    cache, trainer, runs = Cache(study.run_dir / study.name), Trainer(train_set, test_set), []
    for number, training in enumerate(trainings, start=1):
        settings = training_settings(training, digests)
        record = cache.find(settings)
        verb = "kept" if record else "trained"
        if record is None:
            record = Record(settings, environment(), trainer.train(training))
            cache.add(record)
        _print_progress(console, f"{number}/{len(trainings)} {verb}", training, record)
        runs.append(Run(training.case, training.config.seed, record))
    return _report(study, facts, runs, console)


def _print_progress(console: Console, begin: str, training: Training, record: Record) -> None:
    result = record.result
    images_per_second = 1e3 * training.config.batch_size / result.step_ms
    console.print(
        f"{begin} {training.name}: {result.elapsed_s:.0f} s, {result.step_ms:.1f} ms a step, "
        f"{images_per_second:.0f} images/s, train accuracy {result.train.accuracy:.4f}, "
        f"test accuracy {result.test.accuracy:.4f}",
        highlight=False,
        markup=False,
    )


def _report(study: Study, facts: DataFacts, runs: Iterable[Run], console: Console) -> Finished:
    finished = Finished(
        study=study,
        facts=facts,
        command=shlex.join(["python", "-m", "trainer.studies", *sys.argv[1:]]),
        written_at=datetime.now(UTC),
        runs=tuple(runs),
    )
    for claim in finished.claims:
        console.print(
            f"{claim.verdict}: {claim.sentence} {claim.measured}", highlight=False, markup=False
        )
    console.print(f"report {write_report(finished)}", highlight=False, markup=False)
    return finished
