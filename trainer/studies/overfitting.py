"""Whether a Mixer overfits more than a ViT (spec section 7.7, section 3.1 of the paper)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from matplotlib.figure import Figure

from trainer.config import AugmentConfig, OptimiserConfig
from trainer.studies.candidates import Sizes, mixer, vit
from trainer.studies.claims import Claim, positive, within
from trainer.studies.figures import bars, panels
from trainer.studies.samples import Results, Sample
from trainer.studies.study import DataFacts, Study
from trainer.studies.training import Case, Training

NAMES = MIXER, VIT = "Mixer", "ViT"
SIZES = SMALL, LARGER = "small", "larger"
CASES: tuple[Case, ...] = tuple((name, size) for name in NAMES for size in SIZES)


@dataclass(frozen=True)
class OverfittingStudy(Study):
    """Train Mixer and ViT, small and larger, on few images and with next to no regularisation."""

    name: ClassVar[str] = "overfitting"
    title: ClassVar[str] = "Overfitting: the Mixer against the Vision Transformer"
    question: ClassVar[str] = (
        "A Mixer and a Vision Transformer of the same widths, and a larger one of each, are "
        "trained on few images, many times over, without augmentation or weight decay. The paper "
        "finds that the Mixer reaches nearly the same training loss and a worse accuracy on test "
        "(ImageNet: 76.44 against 79.67), and that a larger Mixer is worse still (71.76)."
    )

    steps: int = 1000
    share: float = 0.05
    """Share of the training images."""
    larger: Sizes = field(
        default_factory=lambda: Sizes(width=96, token_mlp_width=96, channel_mlp_width=192, heads=6)
    )
    """Sizes of the larger networks."""
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(crop="random", flip=False))
    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(
            learning_rate=2e-3, warmup_steps=60, weight_decay=0.0
        )
    )
    tolerance_nats: float = 0.1
    """Training losses no further apart than this are close."""

    def check(self) -> None:
        """Refuse also a share that is not in (0, 1].

        Raises:
            ValueError: as said, or no seed.
        """
        super().check()
        if not 0 < self.share <= 1:
            msg = f"share {self.share} is not above 0 and at most 1"
            raise ValueError(msg)

    def trainings(self, facts: DataFacts) -> list[Training]:
        """Return both networks in both sizes."""
        numbers = (self.image_size, facts.classes)
        candidates = {
            (MIXER, SMALL): mixer(self.sizes.mixer(*numbers)),
            (MIXER, LARGER): mixer(self.larger.mixer(*numbers)),
            (VIT, SMALL): vit(self.sizes.vit(*numbers)),
            (VIT, LARGER): vit(self.larger.vit(*numbers)),
        }
        return [
            Training(
                case,
                candidate,
                self.train_config(facts),
                images=round(self.share * facts.images),
                evaluated_images=self.evaluated_images,
            )
            for case, candidate in candidates.items()
        ]

    def claims(self, results: Results) -> Sequence[Claim]:
        """Judge training losses and gaps."""

        def over_vit(measure: Callable[[Case], Sample], size: str) -> Sample:
            return measure((MIXER, size)) - measure((VIT, size))

        widening = results.gap((MIXER, LARGER)) - results.gap((MIXER, SMALL))
        return [
            *(
                within(
                    f"The training losses of Mixer and ViT are close ({size}).",
                    over_vit(results.train_loss, size),
                    self.tolerance_nats,
                    scale=1,
                    unit="nats",
                )
                for size in SIZES
            ),
            *(
                positive(
                    f"The gap between train and test is larger for the Mixer than for the ViT "
                    f"({size}).",
                    over_vit(results.gap, size),
                )
                for size in SIZES
            ),
            positive("The larger Mixer has the larger gap.", widening),
        ]

    def figure(self, results: Results) -> Figure:
        """Draw accuracies, and the loss on training images."""
        figure, (left, right) = panels("accuracy (%)", "loss on training images (nats)")
        labels = ["\n".join(case) for case in CASES]
        accuracies = [
            ("train", [results.sample(case, lambda r: r.train.accuracy) for case in CASES]),
            ("test", [results.test_accuracy(case) for case in CASES]),
        ]
        bars(left, labels, accuracies)
        left.legend()
        losses = [results.train_loss(case) for case in CASES]
        right.bar(
            labels,
            [loss.mean for loss in losses],
            yerr=[loss.spread for loss in losses],
            capsize=2,
        )
        return figure
