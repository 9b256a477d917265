import pytest

from tests.trainer.studies.planted import planted
from trainer.studies.samples import Results, Sample


def test_mean_and_half_of_the_range() -> None:
    sample = Sample((0.5, 0.2, 0.8))
    assert sample.mean == pytest.approx(0.5)
    assert sample.spread == pytest.approx(0.3)
    assert Sample((0.7,)).spread == 0


def test_differences_and_quotients_go_seed_by_seed() -> None:
    this, other = Sample((3.0, 8.0)), Sample((1.0, 4.0))
    assert (this - other).values == (2.0, 4.0)
    assert (this / other).values == (3.0, 2.0)


def test_samples_of_other_seeds_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="zip"):
        Sample((1.0,)) - Sample((1.0, 2.0))


def test_text_shows_mean_and_spread() -> None:
    sample = Sample((0.25, 0.75))
    assert sample.text() == "0.5 ± 0.2"
    assert sample.text(0, scale=100, signed=True) == "+50 ± 25"


def test_results_give_measures_by_case_over_the_seeds() -> None:
    case = ("Mixer", "10 %")
    seeds = (
        planted(0.5, 0.7, curve=(0.1, 0.5)),
        planted(0.4, 0.9, train_loss=0.2, curve=(0.3, 0.4)),
    )
    results = Results({case: seeds, ("other",): ()})
    assert results.test_accuracy(case).values == (0.5, 0.4)
    assert results.gap(case).values == pytest.approx((0.2, 0.5))
    assert results.train_loss(case).values == (0.3, 0.2)
    assert results.step_ms(case).values == (5.0, 5.0)
    assert results.parameters(case) == 123
    assert results.curve(case) == ([10, 20], [Sample((0.1, 0.3)), Sample((0.5, 0.4))])
