from dataclasses import replace

import pytest

from tests.trainer.studies.planted import bar_heights, planted
from trainer.studies.overfitting import CASES, OverfittingStudy
from trainer.studies.samples import Results
from trainer.studies.study import DataFacts

STUDY = OverfittingStudy(share=0.2)
# (test accuracy, training loss) in the order of CASES; train accuracy is 0.9 throughout.
AS_THE_PAPER = ((0.5, 0.3), (0.45, 0.1), (0.6, 0.35), (0.58, 0.15))
AGAINST_IT = ((0.6, 0.5), (0.65, 0.5), (0.5, 0.3), (0.45, 0.1))


def results(numbers: tuple[tuple[float, float], ...]) -> Results:
    pairs = zip(CASES, numbers, strict=True)
    return Results({case: (planted(test, train_loss=loss),) for case, (test, loss) in pairs})


def test_both_networks_come_in_two_sizes_on_few_images() -> None:
    trainings = STUDY.trainings(DataFacts(images=70, classes=3))
    settings = {training.case: training.candidate.settings for training in trainings}
    assert tuple(settings) == CASES
    assert settings["Mixer", "small"]["width"] == settings["ViT", "small"]["hidden_dim"]
    assert settings["Mixer", "larger"]["width"] == settings["ViT", "larger"]["hidden_dim"] == 96
    assert {training.images for training in trainings} == {14}
    assert {training.config.optimiser.weight_decay for training in trainings} == {0.0}


@pytest.mark.parametrize(("numbers", "held"), [(AS_THE_PAPER, True), (AGAINST_IT, False)])
def test_claims_are_judged_from_the_numbers(
    numbers: tuple[tuple[float, float], ...], held: bool
) -> None:
    assert [claim.held for claim in STUDY.claims(results(numbers))] == [held] * 5


def test_figure_shows_train_and_test_of_every_case() -> None:
    accuracy, loss = STUDY.figure(results(AS_THE_PAPER)).axes
    assert bar_heights(accuracy) == pytest.approx([90, 90, 90, 90, 50, 45, 60, 58])
    assert bar_heights(loss) == [0.3, 0.1, 0.35, 0.15]


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_share_outside_of_the_whole_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=f"share {share} is not above 0 and at most 1"):
        replace(STUDY, share=share).check()
