import pytest

from tests.trainer.studies.planted import bar_heights, planted
from trainer.studies.samples import Results
from trainer.studies.study import DataFacts
from trainer.studies.variants import NAMES, VariantsStudy

STUDY = VariantsStudy(image_size=16)
# (test accuracy, ms a step) in the order of NAMES
AS_THE_PAPER = ((0.6, 9.0), (0.61, 9.5), (0.61, 9.5), (0.63, 10.0), (0.59, 5.0))
AGAINST_IT = ((0.6, 9.0), (0.65, 9.5), (0.65, 9.5), (0.59, 10.0), (0.5, 9.5))


def results(numbers: tuple[tuple[float, float], ...]) -> Results:
    pairs = zip(NAMES, numbers, strict=True)
    return Results({(name,): (planted(test, step_ms=ms),) for name, (test, ms) in pairs})


def test_variants_are_changes_of_one_mixer() -> None:
    facts = DataFacts(images=70, classes=3)
    settings = [training.candidate.settings for training in STUDY.trainings(facts)]
    networks = ["mixer", "untied", "grouped", "grouped", "pyramid"]
    assert [each["network"] for each in settings] == networks
    base = {name: value for name, value in settings[0].items() if name != "network"}
    assert all(base.items() <= each.items() for each in settings)
    assert [each.get("views") for each in settings[2:4]] == ["reshape", "learned"]
    assert settings[4]["tokens_after"] == {"1": 4}  # of 16


@pytest.mark.parametrize(("numbers", "held"), [(AS_THE_PAPER, True), (AGAINST_IT, False)])
def test_claims_are_judged_from_the_numbers(
    numbers: tuple[tuple[float, float], ...], held: bool
) -> None:
    assert [claim.held for claim in STUDY.claims(results(numbers))] == [held] * 5


def test_figure_shows_every_variant() -> None:
    accuracy, cost = STUDY.figure(results(AS_THE_PAPER)).axes
    assert bar_heights(accuracy) == pytest.approx([60, 61, 61, 63, 59])
    assert len(cost.lines) == 2
