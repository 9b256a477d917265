import pytest

from trainer.studies.claims import Claim, above, below, falling, positive, rising, within
from trainer.studies.samples import Sample

UP, DOWN = Sample((0.02, 0.04)), Sample((-0.02, -0.04))


@pytest.mark.parametrize(
    ("claim", "held"),
    [
        (positive("", UP), True),
        (positive("", DOWN), False),
        (above("", UP, 0.01), True),
        (above("", UP, 0.03), False),
        (below("", UP, 0.04), True),
        (below("", UP, 0.03), False),
        (within("", DOWN, 0.035), True),
        (within("", UP, 0.025), False),
        (within("", DOWN, 0.025), False),
        (falling("", [UP, Sample((0.0, 0.0)), DOWN]), True),
        (falling("", [UP, UP, DOWN]), False),
        (falling("", [UP, DOWN, Sample((0.0, 0.0))]), False),
        (rising("", [DOWN, DOWN, UP]), True),
        (rising("", [UP, UP, DOWN]), False),
    ],
)
def test_verdict_follows_the_means(claim: Claim, held: bool) -> None:
    assert claim.held is held
    assert claim.verdict == ("held" if held else "did not hold")


def test_measured_shows_the_numbers() -> None:
    assert positive("", UP).measured == "+3.00 ± 1.00 points"
    assert "allowed" in within("", UP, 0.05, scale=1, unit="nats").measured
    assert falling("", [UP, DOWN]).measured == "3.00 ± 1.00 → -3.00 ± 1.00 points"


def test_seeds_that_disagree_are_named() -> None:
    doubt = "not clear of the seeds' spread"
    assert doubt in positive("", Sample((-0.01, 0.03))).measured
    assert doubt in rising("", [Sample((0.0, 0.0)), Sample((-0.01, 0.03))]).measured
    assert doubt in below("", Sample((0.01, 0.04)), 0.02).measured
    assert doubt not in positive("", UP).measured
    assert doubt not in positive("", Sample((0.01,))).measured
