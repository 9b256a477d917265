"""One data set, one finished training and one cache of compiled programs for all these tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from tests.trainer.tiny import TINY_RECIPE, command_line, write_class_folders
from trainer import train

MODEL_NAME = "tiny"


class Finished(NamedTuple):
    """A training that nothing interrupted, and where it was published."""

    arguments: tuple[str, ...]
    store: Path

    @property
    def version(self) -> Path:
        return self.store / MODEL_NAME / "1"


@pytest.fixture(scope="package", autouse=True)
def compile_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compile each program once for all tests and the processes that they start."""
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("xla")),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name.upper(), str(value))
            jax.config.update(name, value)  # type: ignore[no-untyped-call]
        compilation_cache.reset_cache()
        yield
    for name, value in before.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call]
    compilation_cache.reset_cache()


@pytest.fixture(scope="package")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in class folders; tests do not change it."""
    return write_class_folders(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="package")
def finished(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Finished:
    """The tiny recipe, trained without interruption and published as tiny@1."""
    root = tmp_path_factory.mktemp("finished")
    arguments = (
        *TINY_RECIPE,
        *("--data.path", str(data_folder), "--run-dir", str(root / "run")),
        *("--publish-to", str(root / "store"), "--publish-as", MODEL_NAME),
    )
    with command_line(*arguments):
        assert train.main() == 0
    return Finished(arguments, root / "store")
