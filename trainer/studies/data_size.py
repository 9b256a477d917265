"""How accuracy grows with the training set (spec section 7.2, Figure 2 of the paper)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure

from trainer.studies.candidates import Candidate, mixer, resnet, vit
from trainer.studies.claims import POINTS, Claim, falling, positive, rising
from trainer.studies.figures import line, panels
from trainer.studies.samples import Results, Sample
from trainer.studies.study import DataFacts, Study
from trainer.studies.training import Case, Training

NAMES = MIXER, RESNET, VIT = "Mixer", "ResNet", "ViT"


@dataclass(frozen=True)
class DataSizeStudy(Study):
    """Train on nested random subsets, all for the same number of steps."""

    name: ClassVar[str] = "data-size"
    title: ClassVar[str] = "Data size: who gains from more images"
    question: ClassVar[str] = (
        "A Mixer, a ResNet and a Vision Transformer are trained for equally many steps on nested "
        "random subsets of the training images (paper, Figure 2). The paper finds that the Mixer "
        "overfits on little data, and gains more from more data than a ResNet."
    )

    steps: int = 750
    shares: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    """Shares of the training images, from small to large."""

    def check(self) -> None:
        """Refuse also shares that are no rising row in (0, 1].

        Raises:
            ValueError: as said, or no seed.
        """
        super().check()
        rising_row = list(self.shares) == sorted(set(self.shares))
        if (
            len(self.shares) < 2
            or not rising_row
            or not 0 < min(self.shares) <= max(self.shares) <= 1
        ):
            msg = f"shares {self.shares}: at least two, rising, above 0 and at most 1"
            raise ValueError(msg)

    def trainings(self, facts: DataFacts) -> list[Training]:
        """Return each network on each subset."""
        return [
            Training(
                _case(name, share),
                candidate,
                self.train_config(facts),
                images=round(share * facts.images),
                evaluated_images=self.evaluated_images,
            )
            for name, candidate in self._candidates(facts).items()
            for share in self.shares
        ]

    def _candidates(self, facts: DataFacts) -> dict[str, Candidate]:
        size = self.image_size
        return {
            MIXER: mixer(self.mixer(facts)),
            RESNET: resnet(self.sizes.resnet(size, facts.classes)),
            VIT: vit(self.sizes.vit(size, facts.classes)),
        }

    def claims(self, results: Results) -> Sequence[Claim]:
        """Judge how gaps and differences change from the smallest subset to the largest."""
        accuracies = {name: self._series(results.test_accuracy, name) for name in NAMES}
        gaps = {name: self._series(results.gap, name) for name in NAMES}
        over_resnet = _differences(accuracies[MIXER], accuracies[RESNET])
        under_vit = _differences(accuracies[VIT], accuracies[MIXER])
        return [
            *(
                falling(f"The gap between train and test of the {name} shrinks.", gaps[name])
                for name in NAMES
            ),
            positive(
                "On the smallest subset the Mixer overfits more than the ResNet.",
                gaps[MIXER][0] - gaps[RESNET][0],
            ),
            rising("The accuracy of the Mixer less that of the ResNet rises.", over_resnet),
            positive("The lead of the ViT over the Mixer shrinks.", under_vit[0] - under_vit[-1]),
        ]

    def figure(self, results: Results) -> Figure:
        """Draw test accuracy, and the gap, over the share of the images."""
        figure, (left, right) = panels("accuracy on test", "train less test accuracy")
        shares = [POINTS * share for share in self.shares]
        for name in NAMES:
            line(left, shares, self._series(results.test_accuracy, name), name)
            line(right, shares, self._series(results.gap, name), name)
        for axes in (left, right):
            axes.set_xscale("log")
            axes.set_xticks(shares, [f"{share:g}" for share in shares])
            axes.minorticks_off()
            axes.set(xlabel="share of the training images (%)", ylabel="%")
        left.legend()
        return figure

    def _series(self, measure: Callable[[Case], Sample], name: str) -> list[Sample]:
        return [measure(_case(name, share)) for share in self.shares]


def _case(name: str, share: float) -> Case:
    return (name, f"{POINTS * share:g} %")


def _differences(these: Sequence[Sample], others: Sequence[Sample]) -> list[Sample]:
    return [this - other for this, other in zip(these, others, strict=True)]
