"""The Mixers that "did not help" (spec section 7.6, Appendix A.1 of the paper)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure

from trainer.studies.candidates import grouped, mixer, pyramid, untied
from trainer.studies.claims import Claim, above, below, positive
from trainer.studies.figures import bars, panels
from trainer.studies.samples import Results
from trainer.studies.study import DataFacts, Study
from trainer.studies.training import Training

NAMES = BASE, UNTIED, RESHAPED, LEARNED, PYRAMID = (
    "base",
    "untied",
    "grouped, reshape",
    "grouped, learned",
    "pyramid",
)


@dataclass(frozen=True)
class VariantsStudy(Study):
    """Train the Mixer and its variants alike."""

    name: ClassVar[str] = "variants"
    title: ClassVar[str] = "Variants: what the paper tried and left out"
    question: ClassVar[str] = (
        "The Mixer is compared with four changes of it from Appendix A.1: a token MLP for each "
        "channel (untied); a token MLP over groups of channels, by reshape and by learned views; "
        "and fewer tokens from a block on (pyramid). The paper reports that untied mixing brings "
        "no noticeable improvement, grouping by reshape less than 1 to 2 points, learned views 3 "
        "to 4 for its smallest model and nothing for larger ones, and pyramids less training time "
        "for little loss."
    )

    steps: int = 1500
    groups: int = 2
    """Groups of channels of the two grouped Mixers."""
    pyramid_block: int = 1
    """Block of the pyramid, from 0 on, that leaves a quarter of the tokens to those after it."""
    noticeable: float = 0.02
    """Difference of accuracies, as a share, from which on it is noticeable."""

    def trainings(self, facts: DataFacts) -> list[Training]:
        """Return all five on the whole of train."""
        config = self.mixer(facts)
        candidates = {
            BASE: mixer(config),
            UNTIED: untied(config),
            RESHAPED: grouped(config, self.groups, "reshape"),
            LEARNED: grouped(config, self.groups, "learned"),
            PYRAMID: pyramid(config, {self.pyramid_block: config.tokens // 4}),
        }
        return [
            Training(
                (name,),
                candidate,
                self.train_config(facts),
                images=facts.images,
                evaluated_images=self.evaluated_images,
            )
            for name, candidate in candidates.items()
        ]

    def claims(self, results: Results) -> Sequence[Claim]:
        """Judge each variant against the base."""
        gains = {
            name: results.test_accuracy((name,)) - results.test_accuracy((BASE,)) for name in NAMES
        }
        most = self.noticeable
        saved = results.step_ms((BASE,)) - results.step_ms((PYRAMID,))
        return [
            below("Untied token mixing brings no noticeable improvement.", gains[UNTIED], most),
            below("Grouping by reshape brings less than 2 points.", gains[RESHAPED], 0.02),
            positive("Grouping by learned views helps a small model.", gains[LEARNED]),
            above("Pyramids cost little accuracy.", gains[PYRAMID], -most),
            positive("Pyramids save training time.", saved, scale=1, unit="ms a step"),
        ]

    def figure(self, results: Results) -> Figure:
        """Draw accuracy, and what it costs in time and parameters."""
        figure, (left, right) = panels("accuracy on test (%)", "cost, relative to the base")
        labels = [name.replace(", ", "\n") for name in NAMES]
        bars(left, labels, [("", [results.test_accuracy((name,)) for name in NAMES])])
        base = results.step_ms((BASE,))
        times = [(results.step_ms((name,)) / base).mean for name in NAMES]
        parameters = [results.parameters((name,)) / results.parameters((BASE,)) for name in NAMES]
        right.plot(labels, times, "o", label="time of a step")
        right.plot(labels, parameters, "s", label="parameters")
        right.set_yscale("log")
        right.legend()
        return figure
