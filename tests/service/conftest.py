"""What every test of the service leaves as it found it."""

from collections.abc import Iterator

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache


@pytest.fixture(autouse=True)
def _compile_cache_of_jax() -> Iterator[None]:
    """A test may give jax a cache, of which it has one for the process: the next has its own."""
    before = jax.config.values["jax_compilation_cache_dir"]
    yield
    if jax.config.values["jax_compilation_cache_dir"] != before:
        jax.config.update("jax_compilation_cache_dir", before)  # type: ignore[no-untyped-call]
        compilation_cache.reset_cache()
