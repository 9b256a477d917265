"""What every part of the benchmark is given: how long to measure, its things, and its servers."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp

from bench.in_process import InProcess
from bench.load import Generator
from bench.networks import publish
from bench.pictures import write_photos
from bench.serving import Running, mixer_serve
from service.settings import Precision


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float  # of one run under load
    turns: int  # where two are compared closely: more and shorter
    turn_s: float
    batch_budget_s: float  # for all rounds of one batch size
    start_budget_s: float  # for all starts of one variant


FULL = Effort(rounds=3, seconds=5.0, turns=12, turn_s=2.0, batch_budget_s=6.0, start_budget_s=60.0)
QUICK = Effort(rounds=1, seconds=1.5, turns=1, turn_s=1.5, batch_budget_s=0.5, start_budget_s=1.0)


@dataclass(frozen=True)
class Job:
    """One part's order. `work` is a folder of its own that goes when it is done."""

    effort: Effort
    work: Path
    images: Path | None = None  # photos to send instead of drawn ones
    precision: Precision = "float32"  # that the models are served in

    @property
    def store(self) -> Path:
        """Folder of the published models."""
        return self.work / "store"

    @property
    def cache(self) -> Path:
        """Folder of compiled programs, empty when the part begins."""
        return self.work / "compiled"

    def publish(self, variant: str) -> str:
        """Publish a variant with random weights; return the model's name."""
        return publish(variant, self.store)

    def server(
        self, model: str, *, cache: Path | None = None, **more: str
    ) -> AbstractContextManager[Running]:
        """Serve a published model as a process of its own: see `mixer_serve`."""
        log = Path(mkdtemp(dir=self.work), "log")
        options = {"precision": self.precision, **more}
        return mixer_serve(log, store=self.store, model=model, cache=cache or self.cache, **options)

    def parts(self, model: str, *, cache: Path | None = None) -> InProcess:
        """Load a published model into this process."""
        return InProcess(
            store=self.store, model=model, cache=cache or self.cache, precision=self.precision
        )

    @cached_property
    def generator(self) -> Generator:
        """Sends the pictures."""
        return Generator(self.pictures, self.work / "load.json")

    @cached_property
    def pictures(self) -> Path:
        """Folder of the JPEG files to send."""
        if self.images is not None:
            return self.images
        folder = self.work / "pictures"
        write_photos(folder)
        return folder

    @cached_property
    def files(self) -> list[bytes]:
        """The pictures' bytes.

        Raises:
            ValueError: the folder holds no file.
        """
        paths = sorted(path for path in self.pictures.iterdir() if path.is_file())
        if not paths:
            raise ValueError(f"{self.pictures} holds no file")
        return [path.read_bytes() for path in paths]
