"""What a study is: the settings that all share, the trainings, the claims and the figure."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from matplotlib.figure import Figure

from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig
from trainer.config import AugmentConfig, DataConfig, OptimiserConfig, TrainConfig
from trainer.studies.candidates import Sizes
from trainer.studies.claims import Claim
from trainer.studies.samples import Results
from trainer.studies.training import Training


@dataclass(frozen=True)
class DataFacts:
    """What a study must know of its data to plan the trainings."""

    images: int
    """Images of train."""
    classes: int


@dataclass(frozen=True)
class Study(ABC):
    """A study with its settings; those of all studies are here."""

    name: ClassVar[str]
    title: ClassVar[str]
    question: ClassVar[str]
    """What is done and asked, in a few sentences."""

    data: DataConfig = field(default_factory=lambda: DataConfig(path=Path("data/cifar10")))
    out: Path = Path("docs/studies")
    """Folder of the report: numbers, figure and text."""
    run_dir: Path = Path("runs/studies")
    """Folder of the results of finished trainings, which a second start does not repeat."""
    seeds: tuple[int, ...] = (0, 1)
    """Every training is done once with each."""
    steps: int = 500
    """Steps of each training."""
    batch_size: int = 32
    image_size: int = 32
    """Side in pixels to which images are resized."""
    sizes: Sizes = field(default_factory=Sizes)
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(crop="random", flip=True))
    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(learning_rate=2e-3, warmup_steps=60)
    )
    evaluated_images: int = 2500
    """At most so many images of train, and of test, are evaluated."""

    @abstractmethod
    def trainings(self, facts: DataFacts) -> list[Training]:
        """Return the trainings, in the order in which they are done and shown."""

    @abstractmethod
    def claims(self, results: Results) -> Sequence[Claim]:
        """Judge the paper's claims."""

    @abstractmethod
    def figure(self, results: Results) -> Figure:
        """Draw the results."""

    def mixer(self, facts: DataFacts) -> MixerConfig:
        """Return the Mixer of `sizes` for this data."""
        return self.sizes.mixer(self.image_size, facts.classes)

    def train_config(self, facts: DataFacts) -> TrainConfig:
        """Return the settings of a run that all networks share; the seed is set later."""
        return TrainConfig(
            model=self.mixer(facts),
            preprocessing=Preprocessing(
                resize="squash", resize_size=self.image_size, crop_size=self.image_size
            ),
            data=self.data,
            augment=self.augment,
            optimiser=self.optimiser,
            steps=self.steps,
            batch_size=self.batch_size,
        )

    def check(self) -> None:
        """Refuse settings that no study can be made of.

        Raises:
            ValueError: no seed, or one twice.
        """
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            msg = f"seeds {self.seeds}: at least one, and each once"
            raise ValueError(msg)

    def over_seeds(self, training: Training) -> list[Training]:
        """Return the training with each of the seeds."""
        return [
            replace(training, config=replace(training.config, seed=seed)) for seed in self.seeds
        ]
