"""The job on a real Ray: killed, resumed, refused, compared (`make batch-test`)."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import dataset, parquet

from deploy.batch.job import JOB_FILE, SUCCESS_FILE, manifest_sha256
from deploy.batch.parts import part_name
from model_store.bucket import Bucket
from model_store.store import ModelStore
from service.stores import BUILTIN_ROOT
from tests.deploy.batch.pictures import BAD, write_pictures
from tests.deploy.batch.runs import Run
from tests.models import random_checkpoint
from tests.service.live import LiveServer, live_server

pytest_plugins = ["tests.model_store.conftest"]

MODEL = "cifar10-mixer@2"
PART_IMAGES = 300
SAMPLE = 40  # every so many-th image is asked of the service
RUNTIME = "openvino" if os.uname().machine == "x86_64" else "xla"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("batch")


@pytest.fixture(scope="module")
def paths(folder: Path, request: pytest.FixtureRequest) -> list[str]:
    return write_pictures(folder / "images", Path(request.config.getoption("--pictures")))


@pytest.fixture(scope="module")
def environment(folder: Path) -> Mapping[str, str]:
    return {**os.environ, "MIXER_COMPILE_CACHE_DIR": str(folder / "compiled")}


@pytest.fixture(scope="module")
def job(folder: Path, paths: list[str], environment: Mapping[str, str]) -> Run:
    """The job that the tests kill; they use it one after the other."""
    options = {
        "input": folder / "images",
        "task": "classify",
        "model": MODEL,
        "runtime": RUNTIME,
        "top_k": 3,
        "part_images": PART_IMAGES,
    }
    return Run(folder / "killed", options, environment)


@pytest.fixture(scope="module")
def unbroken(job: Run, folder: Path) -> Run:
    """The same job, run once without a kill."""
    run = Run(folder / "unbroken", job.options, job.environment)
    done = run.finish()
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def rows(unbroken: Run) -> list[dict[str, Any]]:
    return rows_of(unbroken.output)


@pytest.fixture(scope="module")
def server() -> Any:
    with live_server(models=MODEL, runtime=RUNTIME) as live:
        yield live


def rows_of(output: Path) -> list[dict[str, Any]]:
    """Return the rows of the folder as any reader would find them, by path."""
    table = dataset.dataset(output, format="parquet").to_table()
    found: list[dict[str, Any]] = table.sort_by("path").to_pylist()
    return found


def assert_equal_rows(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Compare all of two runs, scores to 1e-5: batches of other sizes round otherwise."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        scores, others = (scores_of(row) for row in (one, other))
        assert scores == pytest.approx(others, abs=1e-5)
        assert {**one, "predictions": None} == {**other, "predictions": None}


def scores_of(row: Mapping[str, Any]) -> dict[int, float] | None:
    predictions = row["predictions"]
    return predictions and {each["class_id"]: each["score"] for each in predictions}


def test_every_image_has_one_row(rows: list[dict[str, Any]], paths: list[str]) -> None:
    assert [row["path"] for row in rows] == sorted(paths)
    bad = {row["path"]: row["error_code"] for row in rows if row["error_code"]}
    assert bad == BAD
    for row in rows:
        assert (row["predictions"] is None) == (row["path"] in BAD)
        assert (row["model"], row["version"]) == ("cifar10-mixer", "2")


def test_rows_are_what_the_service_answers(
    rows: list[dict[str, Any]], folder: Path, server: LiveServer
) -> None:
    for row in [*rows[::SAMPLE], *(row for row in rows if row["path"] in BAD)]:
        data = (folder / "images" / row["path"]).read_bytes()
        answer = server.client.post("/classify?top_k=3", files={"image": data}).json()
        if row["error_code"] is not None:
            assert answer["code"] == row["error_code"]
            assert answer["detail"] == row["error_detail"]
            continue
        assert (answer["model"], answer["version"]) == (row["model"], row["version"])
        for said, found in zip(answer["predictions"], row["predictions"], strict=True):
            assert found["class_id"] == said["class_id"]
            assert found["label"] == said["label"]
            assert found["score"] == pytest.approx(said["score"], abs=1e-5)


def test_a_killed_job_is_resumed(job: Run, rows: list[dict[str, Any]]) -> None:
    job.kill_after(parts=3)
    before = job.parts()
    assert 3 <= len(before) < len(rows) // PART_IMAGES
    assert not (job.output / SUCCESS_FILE).exists()
    # What a kill in the midst of a put leaves, which no reader may take.
    (job.output / f".{part_name(99)}#1234").write_bytes(b"PAR1 half a file")
    assert len(rows_of(job.output)) >= 3 * PART_IMAGES

    done = job.finish()

    assert done.returncode == 0, done.stderr
    assert f"{len(rows)} images in " in done.stderr
    assert (job.output / SUCCESS_FILE).exists()
    after = job.parts()
    assert {name: after[name] for name in before} == before
    assert_equal_rows(rows_of(job.output), rows)


def test_a_finished_job_computes_nothing(job: Run) -> None:
    before = job.parts()
    done = job.finish()
    assert done.returncode == 0, done.stderr
    assert "of which 0 are to compute" in done.stderr
    assert job.parts() == before


def test_a_worker_that_dies_is_started_again(
    job: Run, folder: Path, rows: list[dict[str, Any]]
) -> None:
    run = Run(folder / "worker", job.options, job.environment)
    assert run.kill_worker_after(parts=2) == 0
    assert_equal_rows(rows_of(run.output), rows)


def test_another_version_is_refused(job: Run) -> None:
    before = job.parts()
    refused = job.finish(model="cifar10-mixer@1")
    assert refused.returncode == 1
    assert "version 2, not 1; manifest_sha256 " in refused.stderr
    assert job.parts() == before


def test_failures_of_model_and_storage_make_no_rows(
    job: Run, folder: Path, paths: list[str]
) -> None:
    images = folder / "some"
    images.mkdir()
    for i, path in enumerate(paths[:5]):
        shutil.copy(folder / "images" / path, images / str(i))
    options = {**job.options, "input": images}
    environment = {**job.environment, "MIXER_GOLDEN_TOLERANCE": "1e-12"}
    run = Run(folder / "failing", options, environment)
    refused = run.finish()
    assert refused.returncode == 1
    assert "batch: a worker failed: service.qualification.GoldenMismatch: " in refused.stderr
    assert "does not reproduce its golden outputs on this hardware" in refused.stderr
    shutil.rmtree(images)
    failed = Run(run.output, options, job.environment).finish()
    assert failed.returncode == 1
    assert "batch: a worker failed: model_store.errors.NotFound: there is no" in failed.stderr
    assert run.parts() == {}


@pytest.fixture
def s3(s3_root: str, folder: Path, paths: list[str]) -> str:
    """A bucket with a store and some of the images; one of them has left since it was listed."""
    store = ModelStore(f"{s3_root}/store")
    store.publish("tiny", random_checkpoint(), alias="production")
    images = Bucket(f"{s3_root}/images")
    for path in [*paths[::50], *BAD]:
        images.put(path, (folder / "images" / path).read_bytes())
    return s3_root


def test_a_bucket_is_embedded(s3: str, job: Run, folder: Path) -> None:
    expected = Bucket(f"{s3}/images").paths()
    options = {
        "input": f"{s3}/images",
        "store": f"{s3}/store",
        "task": "embed",
        "model": "tiny@production",
        "part_images": 37,
        "workers": 2,
        "worker_cpus": 0.5,
    }
    environment = {**os.environ, "MIXER_CACHE_DIR": str(folder / "cache")}
    done = Run(folder, options, environment).finish(output=f"{s3}/out")
    assert done.returncode == 0, done.stderr

    output = Bucket(f"{s3}/out")
    names = [name for name in output.paths() if name.startswith("part-")]
    tables = [parquet.read_table(pa.BufferReader(output.get(name))) for name in names]
    assert [table.num_rows for table in tables[:-1]] == [37] * (len(names) - 1)
    table = pa.concat_tables(tables)
    assert table["path"].to_pylist() == expected
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 10)
    bad = dict(zip(expected, table["error_code"].to_pylist(), strict=True))
    assert {path: code for path, code in bad.items() if code} == BAD
    with live_server(store=f"{s3}/store", models="tiny", cache_dir=folder / "cache") as server:
        answered = [row for row in table.to_pylist() if row["error_code"] is None]
        for row in answered[::9]:
            image = (folder / "images" / row["path"]).read_bytes()
            answer = server.client.post("/embed", content=image).json()
            np.testing.assert_allclose(row["embedding"], answer["embedding"], atol=1e-5)


def test_the_embedded_store_is_the_default(unbroken: Run) -> None:
    store = ModelStore(str(BUILTIN_ROOT))
    digest = manifest_sha256(store, store.resolve(MODEL))
    assert digest in (unbroken.output / JOB_FILE).read_text()
    metadata = parquet.read_metadata(unbroken.output / part_name(0)).metadata
    assert metadata[b"mixer.manifest_sha256"] == digest.encode()
    assert metadata[b"mixer.runtime"] == RUNTIME.encode()
