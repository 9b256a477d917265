"""What every test of the service leaves as it found it."""

import time
from collections.abc import Iterator

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from tests.service.fake_program import Clock


@pytest.fixture(autouse=True)
def _compile_cache_of_jax() -> Iterator[None]:
    """A test may give jax a cache, of which it has one for the process: the next has its own."""
    before = jax.config.values["jax_compilation_cache_dir"]
    yield
    if jax.config.values["jax_compilation_cache_dir"] != before:
        jax.config.update("jax_compilation_cache_dir", before)  # type: ignore[no-untyped-call]
        compilation_cache.reset_cache()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What `time.perf_counter` tells, until the test moves it."""
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now_s)
    return clock
