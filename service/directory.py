"""The models that answer, as a request sees them, whichever process computes."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Generic, Protocol, TypeVar

import numpy as np

from model_store.manifest import Manifest
from model_store.names import VersionRef
from service.batch import Alone, Answer
from service.errors import ModelNotFound, NotReady
from service.inbox import Inbox
from service.runner import Row
from service.schemas import ModelVersion

# Takes uint8 [H, W, 3] and a deadline on the event loop's clock; returns the answer to the image.
Submit = Callable[[np.ndarray, float], Awaitable[Answer[Row]]]


class Model(Protocol):
    """One version of a model."""

    @property
    def version(self) -> VersionRef:
        """Name and number."""

    @property
    def manifest(self) -> Manifest:
        """What was published."""

    @property
    def labels(self) -> dict[str, str]:
        """The labels of this model's metrics."""

    @property
    def aliases(self) -> Sequence[str]:
        """The aliases that name this version."""

    @property
    def inbox(self) -> Inbox:
        """Where prepared images may wait until there is a place for them on the device."""

    def alone(self) -> AbstractContextManager[Alone[np.ndarray, Row]] | None:
        """Return how the image of the only permit may go to the device at once, else None."""

    def lease(self) -> AbstractContextManager[object]:
        """Keep the model for one request, from finding it until its answer is written."""

    def check(self, images: int, deadline: float, *, preparation_s: float) -> bool:
        """Raise what `admit` would raise now; return whether this process knows it."""

    def admit(
        self, images: int, deadline: float, *, preparation_s: float
    ) -> AbstractAsyncContextManager[Submit]:
        """Hold places for `images`, which will be submitted in `preparation_s`.

        Raises:
            ServiceError: overload, draining, or a deadline that cannot be met.
        """

    def summary(self) -> ModelVersion:
        """Return what `GET /models` says of it."""


Model_co = TypeVar("Model_co", bound=Model, covariant=True)


class Directory(Generic[Model_co]):
    """Which model answers to which reference, and why the others do not."""

    def __init__(self, default: str) -> None:
        self.default = default  # the reference of requests that name none
        self.served: Sequence[Model_co] = []  # each once, in the configured order
        self.missing: dict[str, str] = {}  # why nothing answers, by configured reference
        # Why another version answers than the store has now: it could not be followed.
        self.stale: dict[str, str] = {}

    def find(self, reference: str | None) -> Model_co:
        """Return the model that a request names: `name`, `name@version` or `name@alias`.

        A bare name is its version that was configured first; None is the default model.

        Raises:
            ModelNotFound: nothing configured answers to it.
            NotReady: it is configured, and still loading or refused.
        """
        reference = self.default if reference is None else reference
        name, at, selector = reference.partition("@")
        for model in self.served:
            selectors = (str(model.version.version), *model.aliases)
            if model.version.model == name and (not at or selector in selectors):
                return model
        if any(configured.partition("@")[0] == name for configured in self.missing):
            raise NotReady(f"The model {name!r} is not ready; /readyz says why.")
        served = ", ".join(str(model.version) for model in self.served) or "none yet"
        raise ModelNotFound(f"No model {reference!r:.80} is served; served are: {served}.")
