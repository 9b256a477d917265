"""How networks bear permuted images (spec section 7.3; in the paper from its version 2 on)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.figure import Figure

from trainer.studies.candidates import mixer, resnet
from trainer.studies.claims import Claim, positive, within
from trainer.studies.figures import line, panels
from trainer.studies.permuted import patch_order, pixel_order
from trainer.studies.samples import Results, Sample
from trainer.studies.study import DataFacts, Study
from trainer.studies.training import Training

NAMES = MIXER, RESNET = "Mixer", "ResNet"
INPUTS = ORIGINAL, PATCHES, PIXELS = "original", "patches + pixels within", "all pixels"


@dataclass(frozen=True)
class PermutationStudy(Study):
    """Train on original and on permuted images; the same permutation for all of train and test."""

    name: ClassVar[str] = "permutation"
    title: ClassVar[str] = "Permuted images: what a network assumes about its input"
    question: ClassVar[str] = (
        "A Mixer and a ResNet are trained on the images as they are; with the patches in another "
        "order and the pixels of every patch in one other order (patches + pixels within); and "
        "with all pixels of the image in another order (all pixels). One permutation holds for "
        "all images, of train and test, after augmentation. The paper finds that the first leaves "
        "the Mixer as it is and costs the ResNet much, and that the second costs both, the ResNet "
        "more. For the first, `tests/trainer/test_permute.py` proves more: a Mixer whose initial "
        "weights are permuted like the images has the same losses at every step."
    )

    steps: int = 1000
    permutation_seed: int = 0
    """What both permutations are drawn from."""
    curve_points: int = 6
    """Evaluations of each training, at equal distances."""
    tolerance: float = 0.02
    """Accuracies no further apart than this share coincide."""

    def trainings(self, facts: DataFacts) -> list[Training]:
        """Return both networks on the three kinds of input."""
        size, seed = self.image_size, self.permutation_seed
        candidates = {
            MIXER: mixer(self.mixer(facts)),
            RESNET: resnet(self.sizes.resnet(size, facts.classes)),
        }
        orders = {
            ORIGINAL: None,
            PATCHES: patch_order(image_size=size, patch_size=self.sizes.patch_size, seed=seed),
            PIXELS: pixel_order(image_size=size, seed=seed),
        }
        return [
            Training(
                (name, kind),
                candidate if order is None else candidate.behind(order),
                self.train_config(facts),
                images=facts.images,
                evaluated_images=self.evaluated_images,
                curve_points=self.curve_points,
            )
            for name, candidate in candidates.items()
            for kind, order in orders.items()
        ]

    def claims(self, results: Results) -> Sequence[Claim]:
        """Judge final accuracies, and the Mixer's two curves point by point."""
        drops = {
            (name, kind): _relative_drop(results, name, kind)
            for name in NAMES
            for kind in (PATCHES, PIXELS)
        }
        return [
            within(
                "The curves of the Mixer on original images and on permuted patches coincide "
                "(their furthest points).",
                _furthest(results),
                self.tolerance,
            ),
            positive(
                "Permuted patches cost the ResNet more of its accuracy than the Mixer.",
                drops[RESNET, PATCHES] - drops[MIXER, PATCHES],
                unit="points of the share lost",
            ),
            positive(
                "Permuted patches cost the ResNet accuracy.",
                results.test_accuracy((RESNET, ORIGINAL))
                - results.test_accuracy((RESNET, PATCHES)),
            ),
            *(
                positive(
                    f"Permuting all pixels costs the {name} accuracy.",
                    results.test_accuracy((name, ORIGINAL)) - results.test_accuracy((name, PIXELS)),
                )
                for name in NAMES
            ),
            positive(
                "Permuting all pixels costs the ResNet a larger share of its accuracy than the "
                "Mixer (paper: about 75 % and 45 %).",
                drops[RESNET, PIXELS] - drops[MIXER, PIXELS],
                unit=f"points: {drops[RESNET, PIXELS].text(scale=100)} % of the ResNet's, "
                f"{drops[MIXER, PIXELS].text(scale=100)} % of the Mixer's",
            ),
        ]

    def figure(self, results: Results) -> Figure:
        """Draw test accuracy over the steps, a panel for each network."""
        figure, axes = panels(*NAMES)
        for panel, name in zip(axes, NAMES, strict=True):
            for kind in INPUTS:
                line(panel, *results.curve((name, kind)), kind)
            panel.set(xlabel="step", ylabel="accuracy on test (%)")
            panel.sharey(axes[0])
        axes[0].legend()
        return figure


def _relative_drop(results: Results, name: str, kind: str) -> Sample:
    """Return the share of its accuracy that a network loses."""
    original = results.test_accuracy((name, ORIGINAL))
    return (original - results.test_accuracy((name, kind))) / original


def _furthest(results: Results) -> Sample:
    """Return the difference of the Mixer's curves where its mean is largest."""
    _, original = results.curve((MIXER, ORIGINAL))
    _, permuted = results.curve((MIXER, PATCHES))
    differences = [b - a for a, b in zip(original, permuted, strict=True)]
    return max(differences, key=lambda difference: abs(difference.mean))
