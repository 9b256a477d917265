"""What one start leaves for the next, and that nothing in it can fail a start."""

from pathlib import Path

import pytest

from service.compile_cache import CompileCache, Plan, key_of, machine

PLAN = Plan(runtime="openvino", pads=False, latencies_s={1: 0.5, 4: 0.75}, golden_deviation=0.125)


def test_a_plan_comes_back_in_another_process_as_it_was(tmp_path: Path) -> None:
    CompileCache(tmp_path).remember("key", PLAN)
    found = CompileCache(tmp_path).recall("key")
    assert found == PLAN
    assert found.curve.latency_s(4) == 0.75
    assert [path.suffix for path in tmp_path.rglob("*.*")] == [".json"], "nothing half-written"


def test_what_was_not_remembered_is_not_recalled(tmp_path: Path) -> None:
    CompileCache(tmp_path).remember("key", PLAN)
    assert CompileCache(tmp_path).recall("other") is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b'{"runtime": "xla", "pads": true, "latencies_s": {}}']
)
def test_a_damaged_plan_is_made_anew(tmp_path: Path, content: bytes) -> None:
    cache = CompileCache(tmp_path)
    cache.remember("key", PLAN)
    (path,) = tmp_path.rglob("key.json")
    path.write_bytes(content)
    assert cache.recall("key") is None
    cache.remember("key", PLAN)
    assert cache.recall("key") == PLAN


def test_a_folder_that_cannot_be_written_is_only_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = CompileCache(tmp_path / "file")
    cache.remember("key", PLAN)
    assert "cannot be written" in caplog.text
    assert cache.recall("key") is None


def test_without_a_folder_nothing_is_kept() -> None:
    cache = CompileCache(None)
    cache.remember("key", PLAN)
    assert cache.recall("key") is None
    assert cache.folder is None


def test_a_key_depends_on_every_fact_and_on_no_order() -> None:
    assert key_of(a=1, b=[2, 3]) == key_of(b=[2, 3], a=1)
    assert len({key_of(a=1, b=[2, 3]), key_of(a=1, b=[3, 2]), key_of(a=2, b=[2, 3])}) == 3


def test_programs_of_another_machine_lie_elsewhere(tmp_path: Path) -> None:
    assert CompileCache(tmp_path).folder == tmp_path / machine()
