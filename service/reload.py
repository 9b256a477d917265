"""The watcher: makes what is served follow the store, at start and from then on.

look (where does each reference point now?) → name (aliases) → move (load what is behind, swap)

A version is loaded beside the one that serves and takes its place in one step, once it is warm and
checked; until then, and for good if it is refused, the older one answers in its stead.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import NamedTuple

from model_store.errors import StoreError
from model_store.store import ModelStore
from service.loading import Loader, is_transient, public_reason
from service.models import Catalog, ServedModel
from service.qualification import GoldenMismatch
from service.settings import Settings
from service.stores import Stored

log = logging.getLogger("mixer.reload")


class Refusal(NamedTuple):
    """A version that was tried and must not serve, with the reason for clients."""

    stored: Stored
    reason: str


class Watcher:
    """Polls the store, and has the catalog serve what the configured references mean."""

    def __init__(self, settings: Settings, catalog: Catalog, loader: Loader) -> None:
        self._references = settings.models
        # Without a store there are the embedded versions alone, which no one publishes to.
        self._interval_s = settings.store_poll_ms / 1e3 if settings.store else 0.0
        self._catalog, self._loader = catalog, loader
        self._wanted: dict[str, Stored] = {}  # by reference, as of the last look
        self._refused: dict[str, Refusal] = {}  # by reference; not tried again until it moves
        self._aliases: dict[tuple[ModelStore, str], Mapping[str, int]] = {}
        self._polling = asyncio.Lock()
        self.asked: set[asyncio.Task[None]] = set()  # the looks that `ask` has begun

    async def run(self, started: asyncio.Event) -> None:
        """Load every configured model, tell so, and follow the store until cancelled."""
        await self.poll()
        started.set()
        while self._interval_s:
            await asyncio.sleep(self._interval_s)
            await self.poll()

    def ask(self) -> asyncio.Task[None]:
        """Begin a look besides the regular ones; at shutdown it is cancelled like those."""
        asked = asyncio.create_task(self.poll())
        self.asked.add(asked)
        asked.add_done_callback(self.asked.discard)
        return asked

    async def poll(self) -> None:
        """Look once and move each reference that is behind; errors are reported, never raised.

        One look at a time: who calls meanwhile waits, and looks then.
        """
        async with self._polling:
            await self._poll()

    async def _poll(self) -> None:
        for reference in self._references:
            await self._look(reference)
        self._name()
        for reference, wanted in self._wanted.items():
            if wanted != self._served(reference) and reference not in self._refused:
                await self._move(reference, wanted)

    async def _look(self, reference: str) -> None:
        served = self._served(reference)
        try:
            wanted = await self._loader.locate(reference, served)
            aliases = await self._loader.aliases(wanted)
        except Exception as error:  # whatever it is, the other models must be served
            self._report(reference, error)
            return
        self._wanted[reference] = wanted
        self._aliases[wanted.store, wanted.version.model] = aliases
        refusal = self._refused.get(reference)
        if refusal is not None and refusal.stored == wanted:
            self._catalog.explain(reference, refusal.reason)
            return
        self._refused.pop(reference, None)
        if wanted == served and self._catalog.explain(reference, None):
            log.info("%s follows the store again", reference)

    async def _move(self, reference: str, wanted: Stored) -> None:
        try:
            model = self._loaded(wanted) or await self._loader.load(wanted)
        except Exception as error:  # as above
            if not is_transient(error):
                self._refused[reference] = Refusal(wanted, public_reason(error))
                self._catalog.explain(reference, None)  # said of an earlier version, it is news
            self._report(reference, error)
        else:
            self._catalog.serve(reference, model)
            self._name()

    def _served(self, reference: str) -> Stored | None:
        model = self._catalog.answering.get(reference)
        return model.stored if model else None

    def _loaded(self, wanted: Stored) -> ServedModel | None:
        return next((model for model in self._catalog.served if model.stored == wanted), None)

    def _name(self) -> None:
        """Give each served version its aliases, and those of a version it answers in place of."""
        answering = {model.stored: model for model in self._catalog.served}
        for reference, model in self._catalog.answering.items():
            answering.setdefault(self._wanted[reference], model)
        for model in self._catalog.served:
            store, version = model.stored
            numbers = {
                stored.version.version
                for stored, answers in answering.items()
                if answers is model and stored.store is store
            }
            aliases = self._aliases[store, version.model]
            self._catalog.name(model, (a for a, number in aliases.items() if number in numbers))

    def _report(self, reference: str, error: Exception) -> None:
        """Note the reason for clients; log the error when it is news."""
        if self._catalog.explain(reference, public_reason(error)):
            bug = None if isinstance(error, StoreError | GoldenMismatch) else error
            # As text: a kept log record would keep the error, and with it the model.
            log.warning("cannot follow %s: %s", reference, str(error), exc_info=bug)
