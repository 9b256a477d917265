"""A start by the plan that an earlier one left, with a real store and real programs."""

from pathlib import Path

import numpy as np
import pytest

from model_store.store import ModelStore
from service import loading
from service.qualification import Qualifier
from service.runtimes import openvino
from service.settings import Precision, Runtime
from service.trials import Trials
from tests.service.watching import loaded, run, version, watching


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(str(tmp_path / "store"))
    store.publish("one", version(1))
    return store


def plans(cache: Path) -> list[Path]:
    return list(cache.rglob("plans/*.json"))


@pytest.mark.parametrize("runtime", ["xla", "openvino", "auto"])
def test_the_second_start_measures_nothing(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: Runtime
) -> None:
    cache = tmp_path / "cache"
    settings = {"runtime": runtime, "buckets": (1, 3), "compile_cache_dir": cache}
    first = loaded(store, "one", **settings).served[0]
    assert len(plans(cache)) == 1
    monkeypatch.setattr(Trials, "in_turn", None)
    second = loaded(store, "one", **settings).served[0]
    assert second.runner.curve.latencies_s == first.runner.curve.latencies_s
    assert second.runner.program.runtime == first.runner.program.runtime
    assert second.golden_deviation < 1e-5


@pytest.mark.parametrize(
    "other", [{"buckets": (1, 2)}, {"precision": "bfloat16"}, {"runtime": "xla"}]
)
def test_other_settings_have_a_plan_of_their_own(
    store: ModelStore, tmp_path: Path, other: dict[str, object]
) -> None:
    settings: dict[str, object] = {
        "runtime": "openvino",
        "buckets": (1, 3),
        "compile_cache_dir": tmp_path,
    }
    loaded(store, "one", **settings)
    loaded(store, "one", **(settings | other))
    assert len(plans(tmp_path)) == 2


def test_what_was_measured_on_one_device_says_nothing_about_another(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for device in ("", "1 NVIDIA H200", "2 NVIDIA H200", ""):
        monkeypatch.setattr(loading, "accelerator", lambda device=device: device)
        loaded(store, "one", compile_cache_dir=tmp_path)
    assert len(plans(tmp_path)) == 3


def test_other_parameters_have_a_plan_of_their_own(store: ModelStore, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    loaded(store, "one", compile_cache_dir=cache)
    store.publish("one", version(2))
    loaded(store, "one", compile_cache_dir=cache)
    assert len(plans(cache)) == 2


def test_a_runtime_that_cannot_be_imported_leaves_the_other(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ImportError("a library of it is missing")

    monkeypatch.setattr(openvino, "import_all", fail)
    served = loaded(store, "one", runtime="auto", buckets=(1, 3)).served[0]
    assert served.runner.program.runtime == "xla"


def test_a_plan_that_fails_is_made_anew(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded(store, "one", compile_cache_dir=tmp_path / "cache")

    async def fail(*_: object) -> None:
        raise OSError("the runtime is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Qualifier, "by_plan", fail)
        assert loaded(store, "one", compile_cache_dir=tmp_path / "cache").served


def test_damaged_executables_are_compiled_anew(store: ModelStore, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    settings = {"runtime": "xla", "compile_cache_dir": cache}
    expected = loaded(store, "one", **settings).served[0].golden_deviation
    damaged = [path for path in cache.rglob("xla/*") if path.is_file()]
    assert damaged
    for path in damaged:
        path.write_bytes(path.read_bytes()[:50] + b"damage")
    with pytest.warns(UserWarning, match="Error reading persistent compilation cache"):
        found = loaded(store, "one", **settings).served[0]
    assert found.golden_deviation == pytest.approx(expected, abs=1e-6)


def test_a_cache_that_cannot_be_used_fails_no_start(store: ModelStore, tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("a file, where the cache should be")
    with pytest.warns(UserWarning, match="persistent compilation cache"):
        assert loaded(store, "one", compile_cache_dir=tmp_path / "in the way").served


@pytest.mark.parametrize(("precision", "runtime"), [("bfloat16", "xla"), ("int8", "openvino")])
def test_what_deviates_by_precision_is_reported_and_judged_by_its_own_tolerance(
    store: ModelStore, precision: Precision, runtime: Runtime
) -> None:
    rounded = loaded(store, "one", precision=precision, runtime=runtime).served[0]
    assert rounded.runner.program.precision == precision
    assert 1e-5 < rounded.golden_deviation < 0.05
    settings = {"runtime": runtime, "reduced_precision_tolerance": 1e-9}
    strict = loaded(store, "one", precision=precision, **settings)
    assert "does not reproduce its golden outputs" in strict.missing["one"]
    mixed = loaded(store, "one", precision=f"{precision},one=float32", runtime=runtime).served[0]
    assert mixed.runner.program.precision == "float32"


def test_what_no_runtime_computes_here_is_told(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "is_available", lambda: False)
    missing = loaded(store, "one", precision="int8", runtime="auto").missing
    assert missing == {"one": "precision int8 needs OpenVINO, and so an x86 CPU"}


def test_both_runtimes_answer_the_same(store: ModelStore) -> None:
    async def outputs(runtime: Runtime) -> list[list[float]]:
        async with watching(store, "one", runtime=runtime, buckets=(1, 4)) as watched:
            runner = watched.catalog.find(None).runner
            size = watched.catalog.find(None).manifest.architecture.image_size
            images = list(np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8))
            output = await runner.run(images)
            return [row.logits_N.tolist() for row in output.rows]

    async def main() -> None:
        for ours, theirs in zip(await outputs("xla"), await outputs("openvino"), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-5)

    run(main())
