import json
import os
from pathlib import Path
from urllib.request import urlopen

import pytest

from bench.caller import Caller
from bench.in_process import InProcess
from bench.job import QUICK, Job
from bench.processes import held
from bench.serving import mixer_serve

MODEL = "cifar10-mixer"  # embedded, so that nothing needs to be published


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled programs for all tests here, so that only the first compiles."""
    return tmp_path_factory.mktemp("compiled")


def test_a_served_model_is_measured_and_ended(tmp_path: Path, cache: Path) -> None:
    job = Job(QUICK, tmp_path)
    with mixer_serve(tmp_path / "log", store=job.store, model=MODEL, cache=cache) as running:
        with Caller(running.url, job.files[0]) as caller:
            probe = caller.ask()
        assert probe.status == 200
        assert probe.latency_s > 0
        assert held(running.pid).resident_bytes > 2**20
        result = job.generator.closed(running.url, 3, 0.3)
        assert result["answered"] == result["requests"] >= 3
        assert job.generator.poisson(running.url, 20, 0.3, 5000, seed=1)["limit_ms"] == 5000
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"did not become ready:\n.*MIXER_BUCKETS"),
        mixer_serve(tmp_path / "log", store=tmp_path, model=MODEL, cache=tmp_path, buckets="x"),
    ):
        pass


def test_the_job_s_precision_is_that_of_its_servers_and_parts(tmp_path: Path, cache: Path) -> None:
    job = Job(QUICK, tmp_path, precision="bfloat16")
    with job.server(MODEL, cache=cache) as running:
        answer = urlopen(running.url.replace("/classify", "/models")).read()
    (model,) = json.loads(answer)["models"]
    assert model["versions"][0]["precision"] == "bfloat16"
    with job.parts(MODEL, cache=cache) as parts:
        assert parts.model.runner.program.precision == "bfloat16"


def test_a_model_that_cannot_be_served_in_this_process_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="absent is not served"):
        InProcess(store=tmp_path, model="absent", cache=tmp_path)


def test_both_pipelines_in_this_process_answer(tmp_path: Path, cache: Path) -> None:
    job = Job(QUICK, tmp_path)
    with InProcess(store=job.store, model=MODEL, cache=cache) as parts:
        for rate in (
            parts.through_batcher(job.files, in_flight=5, duration_s=1.0),
            parts.by_hand(job.files, in_flight=5, duration_s=1.0),
        ):
            assert rate.images_per_s > 0
            assert rate.cpu_ms > 0
        result = job.generator.closed(parts.running.url, 3, 0.3)
        assert result["answered"] == result["requests"] >= 3
        assert parts.decode_s(job.files[0]) > 0
        assert parts.device_s(1) > 0
