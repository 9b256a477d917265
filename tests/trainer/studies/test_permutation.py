from collections.abc import Mapping

import pytest

from tests.trainer.studies.planted import planted
from trainer.studies.permutation import INPUTS, NAMES, PermutationStudy
from trainer.studies.samples import Results
from trainer.studies.study import DataFacts

STUDY = PermutationStudy(image_size=8)
AS_THE_PAPER = {"Mixer": (0.6, 0.6, 0.4), "ResNet": (0.7, 0.5, 0.3)}
AGAINST_IT = {"Mixer": (0.6, 0.5, 0.7), "ResNet": (0.5, 0.6, 0.8)}


def results(accuracies: Mapping[str, tuple[float, ...]]) -> Results:
    return Results(
        {
            (name, kind): (planted(accuracy, curve=(0.1, accuracy)),)
            for name, series in accuracies.items()
            for kind, accuracy in zip(INPUTS, series, strict=True)
        }
    )


def test_both_networks_see_the_same_permutations() -> None:
    trainings = STUDY.trainings(DataFacts(images=70, classes=3))
    assert [t.case for t in trainings] == [(name, kind) for name in NAMES for kind in INPUTS]
    orders = [training.candidate.settings.get("pixel_order") for training in trainings]
    assert orders[:3] == orders[3:]
    assert orders[0] is None
    assert orders[1] != orders[2]
    assert {training.images for training in trainings} == {70}


@pytest.mark.parametrize(("accuracies", "held"), [(AS_THE_PAPER, True), (AGAINST_IT, False)])
def test_claims_are_judged_from_the_numbers(
    accuracies: Mapping[str, tuple[float, ...]], held: bool
) -> None:
    assert [claim.held for claim in STUDY.claims(results(accuracies))] == [held] * 6


def test_curves_that_part_and_meet_again_do_not_coincide() -> None:
    found = dict(results(AS_THE_PAPER).found)
    found["Mixer", INPUTS[1]] = (planted(0.6, curve=(0.3, 0.6)),)
    claim, *_ = STUDY.claims(Results(found))
    assert not claim.held
    assert claim.measured.startswith("+20.00")


def test_figure_shows_three_curves_of_each_network() -> None:
    axes = STUDY.figure(results(AS_THE_PAPER)).axes
    assert [panel.get_title() for panel in axes] == list(NAMES)
    assert [len(panel.containers) for panel in axes] == [3, 3]
