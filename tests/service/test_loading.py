"""The loader: what may serve, what is refused and why, and on which threads it works."""

import asyncio
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from model_store.errors import Corrupt
from model_store.store import ModelStore, VersionRef
from model_store.version_files import VersionFiles
from service.compile_cache import Plan
from service.qualification import Qualified, Qualifier
from service.runtimes.xla import XlaProgram
from tests.service.watching import TIMEOUT_S, loaded, misremembered, run, version, watching


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    store = ModelStore(str(tmp_path / "store"))
    store.publish("one", version(1))
    return store


def test_a_version_with_a_changed_byte_is_refused(store: ModelStore) -> None:
    parameters = Path(store.root) / "one/1/params.safetensors"
    content = bytearray(parameters.read_bytes())
    content[-1] ^= 1
    parameters.write_bytes(content)
    catalog = loaded(store, "one")
    assert catalog.missing == {"one": "a file's size or digest is not as it was published"}


@pytest.mark.parametrize("name", ["params.safetensors", "golden/0.png"])
def test_a_missing_file_is_damage_too(store: ModelStore, name: str) -> None:
    manifest = store.manifest(VersionRef("one", 1))
    assert name in manifest.files
    (Path(store.root) / "one/1" / name).unlink()
    catalog = loaded(store, "one")
    assert catalog.missing == {"one": "a file's size or digest is not as it was published"}


def test_nothing_serves_until_every_byte_is_checked(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a plan the model is compiled and run while the digests are still being compared."""
    loaded(store, "one", compile_cache_dir=tmp_path)
    may_end, by_plan = threading.Event(), Qualifier.by_plan

    def slow_check(*_: object) -> None:
        assert may_end.wait(TIMEOUT_S)
        raise Corrupt("one@1: the last byte")

    async def main() -> None:
        qualified = asyncio.Event()

        async def by_plan_and_tell(qualifier: Qualifier, plan: Plan) -> Qualified:
            found = await by_plan(qualifier, plan)
            qualified.set()
            return found

        async def end_when_qualified() -> None:
            await qualified.wait()
            may_end.set()

        monkeypatch.setattr(VersionFiles, "check", slow_check)
        monkeypatch.setattr(Qualifier, "by_plan", by_plan_and_tell)
        ending = asyncio.create_task(end_when_qualified())
        async with watching(store, "one", compile_cache_dir=tmp_path) as watched:
            await ending
            assert not watched.catalog.served
            assert "digest" in watched.catalog.missing["one"]

    run(main())


def test_a_changed_manifest_is_refused(store: ModelStore) -> None:
    path = Path(store.root) / "one/1/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["golden"][0]["logits"][0] += 0.5
    path.write_text(json.dumps(manifest))
    assert "one" in loaded(store, "one").missing


def test_a_version_that_misses_its_golden_outputs_is_refused(store: ModelStore) -> None:
    store.publish("one", misremembered(2))
    catalog = loaded(store, "one")
    assert "one@2 does not reproduce its golden outputs" in catalog.missing["one"]
    assert not catalog.served


def test_the_tolerance_is_a_setting(store: ModelStore) -> None:
    assert "allowed is 1e-12" in loaded(store, "one", golden_tolerance=1e-12).missing["one"]


def test_what_is_no_reference_is_named_so(store: ModelStore) -> None:
    missing = loaded(store, "ONE").missing
    assert missing == {"ONE": "it is not of the form name, name@version or name@alias"}


def test_reasons_show_no_paths(store: ModelStore, tmp_path: Path) -> None:
    (Path(store.root) / "one/1/params.safetensors").unlink()
    assert str(tmp_path) not in loaded(store, "one").missing["one"]


def test_the_golden_deviation_is_that_of_float32(store: ModelStore) -> None:
    assert 0 <= loaded(store, "one").served[0].golden_deviation < 1e-5


def test_what_the_store_has_not_is_looked_for_among_the_embedded(store: ModelStore) -> None:
    assert str(loaded(store, "cifar10-mixer").find(None).version.model) == "cifar10-mixer"


def test_the_device_thread_runs_batches_alone(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading and compiling elsewhere, so that no request waits for it longer than for a batch."""
    compiled, called = set(), set()
    compile_bucket, call = XlaProgram.compile, XlaProgram.__call__

    def recorded_compile(program: XlaProgram, bucket: int) -> None:
        compiled.add(threading.current_thread().name)
        compile_bucket(program, bucket)

    def recorded_call(
        program: XlaProgram, images_BxHxWx3: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        called.add(threading.current_thread().name)
        return call(program, images_BxHxWx3)

    monkeypatch.setattr(XlaProgram, "compile", recorded_compile)
    monkeypatch.setattr(XlaProgram, "__call__", recorded_call)
    loaded(store, "one")
    assert (compiled, called) == ({"load_0"}, {"device_0"})
