"""A worker in this process: what it refuses, and what it answers for (`make batch-test`)."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from bench.pictures import draw_photo, encode
from deploy.batch.job import JobRefused, manifest_sha256
from deploy.batch.parts import Part, part_name
from deploy.batch.worker import Worker
from model_store.errors import Corrupt, StoreError
from model_store.manifest import PARAMETERS_FILE
from model_store.store import ModelStore
from service.settings import load_settings
from tests.deploy.batch.asking import asked
from tests.models import random_checkpoint

SMALL, LARGE = "small.png", "large.png"

MakeWorker = Callable[..., Worker]


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(str(tmp_path / "store"))
    store.publish("tiny", random_checkpoint())
    return store


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with a small and a large image."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, size in ((SMALL, (21, 17)), (LARGE, (53, 47))):
        (folder / name).write_bytes(encode(draw_photo(rng, size), "PNG"))
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def make_worker(store: ModelStore, images: Path, output: Path) -> Iterator[MakeWorker]:
    """Make a worker, to be closed at the end, for a job with these changes."""
    made = []
    facts = {
        "version": 1,
        "manifest_sha256": manifest_sha256(store, store.resolve("tiny@1")),
        "input": str(images),
        "task": "embed",
        "top_k": None,
        "normalize": True,
        "max_image_bytes": (images / SMALL).stat().st_size,
    }

    def make(**changes: Any) -> Worker:
        settings = load_settings({"compile_cache_dir": None, "runtime": "xla", "buckets": "1,4"})
        wanted = asked(**{**facts, **changes})
        made.append(Worker(wanted, settings, store=store.root, output=str(output)))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


def test_another_model_of_the_same_name_is_refused(make_worker: MakeWorker) -> None:
    with pytest.raises(JobRefused, match=f"the job was begun with {'0' * 64}"):
        make_worker(manifest_sha256="0" * 64)


def test_damaged_parameters_are_refused(make_worker: MakeWorker, store: ModelStore) -> None:
    file = Path(store.root, "tiny", "1", PARAMETERS_FILE)
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    with pytest.raises(Corrupt, match=PARAMETERS_FILE):
        make_worker()


def test_what_is_wrong_with_an_image_is_its_row(make_worker: MakeWorker, output: Path) -> None:
    worker, part = make_worker(), Part(3, [SMALL, LARGE, "left/already.png"])
    done = worker({"number": part.number, "paths": "\n".join(part.paths)})
    assert (done["images"], done["errors"]) == (3, 2)
    table = parquet.read_table(output / part_name(3))
    assert table["path"].to_pylist() == part.paths
    assert table["error_code"].to_pylist() == [None, "body_too_large", "image_missing"]
    embedding, *nothing = table["embedding"].to_pylist()
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-6)
    assert nothing == [None, None]


def test_a_part_that_is_there_is_not_computed(make_worker: MakeWorker, output: Path) -> None:
    (output / part_name(4)).write_bytes(b"of another worker")
    assert make_worker().compute(Part(4, [SMALL])).images == 0
    assert (output / part_name(4)).read_bytes() == b"of another worker"


def test_an_input_that_has_left_makes_no_rows(
    make_worker: MakeWorker, images: Path, output: Path
) -> None:
    worker = make_worker()
    for name in (SMALL, LARGE):
        (images / name).unlink()
    with pytest.raises(StoreError, match=r"there is nothing beneath .*/images any more"):
        worker.compute(Part(0, [SMALL, LARGE]))
    images.rmdir()
    with pytest.raises(StoreError, match="there is no store at"):
        worker.compute(Part(0, [SMALL, LARGE]))
    assert list(output.iterdir()) == []
