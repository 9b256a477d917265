from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from tests.trainer.studies.planted import planted
from trainer.studies.data_size import DataSizeStudy
from trainer.studies.samples import Results
from trainer.studies.study import DataFacts

STUDY = DataSizeStudy(shares=(0.1, 0.5, 1.0))
# Test accuracies of each network on each share; train accuracy is 0.9 throughout.
AS_THE_PAPER = {"Mixer": (0.2, 0.5, 0.8), "ResNet": (0.4, 0.5, 0.6), "ViT": (0.3, 0.55, 0.81)}
AGAINST_IT = {"Mixer": (0.8, 0.5, 0.2), "ResNet": (0.6, 0.5, 0.4), "ViT": (0.81, 0.55, 0.3)}


def results(accuracies: Mapping[str, tuple[float, ...]]) -> Results:
    shares = ("10 %", "50 %", "100 %")
    return Results(
        {
            (name, share): (planted(accuracy), planted(accuracy + 0.01))
            for name, series in accuracies.items()
            for share, accuracy in zip(shares, series, strict=True)
        }
    )


def test_each_network_is_trained_on_each_share_for_equal_steps() -> None:
    trainings = STUDY.trainings(DataFacts(images=70, classes=3))
    assert [training.case for training in trainings] == list(results(AS_THE_PAPER).found)
    assert [training.images for training in trainings] == [7, 35, 70] * 3
    assert {training.config.steps for training in trainings} == {STUDY.steps}
    seeds = [each.config.seed for each in STUDY.over_seeds(trainings[0])]
    assert tuple(seeds) == STUDY.seeds
    networks = [training.candidate.settings["network"] for training in trainings]
    assert networks == ["mixer"] * 3 + ["resnet"] * 3 + ["vit"] * 3


@pytest.mark.parametrize(("accuracies", "held"), [(AS_THE_PAPER, True), (AGAINST_IT, False)])
def test_claims_are_judged_from_the_numbers(
    accuracies: Mapping[str, tuple[float, ...]], held: bool
) -> None:
    claims = STUDY.claims(results(accuracies))
    assert [claim.held for claim in claims] == [held] * 6


def test_figure_shows_every_network_over_the_shares() -> None:
    accuracy, gap = STUDY.figure(results(AS_THE_PAPER)).axes
    for axes in (accuracy, gap):
        points = [
            np.size(line.get_ydata()) for line in axes.lines if line.get_linestyle() != "None"
        ]
        assert points == [3] * 3
    legend = accuracy.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["Mixer", "ResNet", "ViT"]


@pytest.mark.parametrize("shares", [(), (1.0,), (0.5, 0.5), (0.5, 0.1), (0.0, 1.0), (0.5, 1.5)])
def test_shares_that_do_not_rise_within_the_whole_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="at least two, rising, above 0 and at most 1"):
        replace(STUDY, shares=shares).check()
