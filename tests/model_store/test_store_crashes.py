"""Publishers that die at any point, and publishers and readers at the same time."""

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_store.bucket import Bucket
from model_store.errors import NotFound
from model_store.store import ModelStore, VersionRef
from tests.model_store.versions import version

OLD, NEW = VersionRef("m", 1), VersionRef("m", 2)
WRITES_OF_A_PUBLISH = 5  # claim, two files, manifest, alias
FLUSHES_OF_A_PUBLISH = 5 * 4 + 1  # of the file and the three folders above it, or four


class Crash(BaseException):
    """The process ends here; nothing of it may catch this."""


class Crasher:
    """Stands in for the writing operations of every bucket, and dies at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, at: int, after: bool) -> None:
        self.at, self.after, self.writes = at, after, 0
        for name in ("put", "create", "delete"):
            monkeypatch.setattr(Bucket, name, self._wrapped(name))

    def _wrapped(self, name: str):  # type: ignore[no-untyped-def]
        original = getattr(Bucket, name)

        def write(bucket: Bucket, *arguments: object) -> object:
            self.writes += 1
            if self.writes == self.at and not self.after:
                raise Crash
            result = original(bucket, *arguments)
            if self.writes == self.at:
                raise Crash
            return result

        return write


def check_readable(root: str) -> VersionRef:
    """Check that a reader finds whole versions alone; return what production means to it."""
    reader = ModelStore(root)
    for ref in reader.list():
        reader.verify(ref)
    assert reader.resolve("m@latest") <= reader.list("m")[-1]  # which may be newer by now
    return reader.resolve("m@production")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, WRITES_OF_A_PUBLISH + 1))
def test_a_publish_that_dies_leaves_the_old_state_or_the_new_one(
    store: ModelStore, root: str, monkeypatch: pytest.MonkeyPatch, at: int, after: bool
) -> None:
    store.publish("m", version(b"old"), "production")
    with monkeypatch.context() as patch:
        Crasher(patch, at=at, after=after)
        with pytest.raises(Crash):
            store.publish("m", version(b"new"), "production")
    committed = at > 4 or (at == 4 and after)
    moved = at == 5 and after
    assert store.list("m") == ((OLD, NEW) if committed else (OLD,))
    assert check_readable(root) == (NEW if moved else OLD)
    # The next publisher is not hindered, and does not take what the dead one had claimed.
    taken = at > 1 or after
    assert store.publish("m", version(b"next")) == VersionRef("m", 3 if taken else 2)
    check_readable(root)


def test_a_publish_has_the_writes_that_were_tested(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    crasher = Crasher(monkeypatch, at=0, after=False)
    store.publish("m", version(), "production")
    assert crasher.writes == WRITES_OF_A_PUBLISH


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 4))
def test_a_delete_that_dies_leaves_the_version_or_none(
    store: ModelStore, root: str, monkeypatch: pytest.MonkeyPatch, at: int, after: bool
) -> None:
    store.publish("m", version(b"old"), "production")
    store.publish("m", version(b"new"))
    with monkeypatch.context() as patch:
        Crasher(patch, at=at, after=after)
        with pytest.raises(Crash):
            store.delete(NEW)
    untouched = at == 1 and not after
    assert store.list("m") == ((OLD, NEW) if untouched else (OLD,))
    assert check_readable(root) == OLD


def test_what_a_dead_publisher_left_can_be_removed(
    store: ModelStore, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish("m", version(b"old"))
    with monkeypatch.context() as patch:
        Crasher(patch, at=3, after=True)
        with pytest.raises(Crash):
            store.publish("m", version(b"new"))
    with pytest.raises(NotFound):
        store.delete(NEW)
    store.delete(NEW, unfinished=True)
    assert Bucket(root).paths("m/2") == ["m/2/claim"]
    with pytest.raises(NotFound, match="nothing is left of m@2"):
        store.delete(NEW, unfinished=True)
    assert check_only(store) == (OLD,)


def check_only(store: ModelStore) -> tuple[VersionRef, ...]:
    for ref in store.list():
        store.verify(ref)
    return store.list()


# Run by an interpreter of its own, whose children are killed at their n-th flush to the disk or
# publish all at once. obstore's threads would not survive a fork, so the parent does nothing else.
CHILDREN = """
import os, signal, sys
from pathlib import Path
from model_store.store import ModelStore
from tests.model_store.versions import version

def publish_and_die(root, flush):
    count, fsync = 0, os.fsync
    def die(descriptor):
        nonlocal count
        count += 1
        if count == flush:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)
    os.fsync = die
    ModelStore(root).publish("m", version(b"new"), "production")

def publish_many(root, count):
    for i in range(count):
        ModelStore(root).publish("m", version(b"%d of %d" % (i, os.getpid())))

def main(command, roots):
    children = []
    for i, root in enumerate(roots, 1):
        if (child := os.fork()) == 0:
            publish_and_die(root, i) if command == "die" else publish_many(root, 5)
            os._exit(0)
        children.append(child)
    for child in children:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

main(sys.argv[1], sys.argv[2:])
"""


def run_children(command: str, roots: list[Path]) -> list[int]:
    """Return the exit codes of one child per root."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILDREN, command, *map(str, roots)],
        stdout=subprocess.PIPE,
        check=True,
        cwd=Path(__file__).parents[2],
        timeout=120,
    )
    return [int(line) for line in done.stdout.split()]


def test_a_publisher_killed_at_any_flush_leaves_the_old_state_or_the_new_one(
    tmp_path: Path,
) -> None:
    roots = [tmp_path / str(i) for i in range(1, FLUSHES_OF_A_PUBLISH + 2)]
    for root in roots:
        ModelStore(str(root)).publish("m", version(b"old"), "production")
    exits = run_children("die", roots)
    assert exits == [-signal.SIGKILL] * FLUSHES_OF_A_PUBLISH + [0]
    seen = [(ModelStore(str(root)).list("m")[-1], check_readable(str(root))) for root in roots]
    assert seen == sorted(seen), "once committed, always committed; once moved, always moved"
    assert set(seen) == {(OLD, OLD), (NEW, OLD), (NEW, NEW)}
    for root in roots:
        next_version = ModelStore(str(root)).publish("m", version(b"next"), "production")
        assert check_readable(str(root)) == next_version


def test_publishing_processes_never_share_a_number(tmp_path: Path) -> None:
    assert run_children("publish", [tmp_path / "models"] * 4) == [0] * 4
    store = ModelStore(str(tmp_path / "models"))
    assert [ref.version for ref in store.list("m")] == list(range(1, 21))
    digests = {store.verify(ref).files["params.safetensors"].sha256 for ref in store.list("m")}
    assert len(digests) == 20


def test_publishers_of_one_moment_never_share_a_number(store: ModelStore, root: str) -> None:
    start = threading.Barrier(4)

    def publish(i: int) -> VersionRef:
        start.wait()
        return store.publish("m", version(b"%d" % i))

    with ThreadPoolExecutor(4) as pool:
        refs = list(pool.map(publish, range(4)))
    assert sorted(refs) == list(check_only(store)) == [VersionRef("m", i) for i in range(1, 5)]
    for i, ref in enumerate(refs):
        assert store.manifest(ref) == version(b"%d" % i).manifest


def test_latest_never_goes_back(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow publisher commits version 1 after a fast one has committed version 2."""
    put = Bucket.put

    def overtake(bucket: Bucket, path: str, data: bytes) -> None:
        monkeypatch.setattr(Bucket, "put", put)
        assert store.publish("m", version(b"fast")) == NEW
        bucket.put(path, data)

    monkeypatch.setattr(Bucket, "put", overtake)
    assert store.publish("m", version(b"slow")) == OLD
    assert store.resolve("m@latest") == NEW


def test_readers_always_find_an_alias_that_moves(store: ModelStore, root: str) -> None:
    for text in (b"1", b"2"):
        store.publish("m", version(text), "production")
    enough = threading.Event()
    seen: set[VersionRef] = set()

    def read() -> None:
        while seen != {OLD, NEW}:
            seen.add(ModelStore(root).resolve("m@production"))
        enough.set()

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for i in range(10_000):
            store.set_alias("production", (OLD, NEW)[i % 2])
            if i > 20 and enough.is_set():
                break
        for reader in readers:
            reader.result()


def test_readers_never_see_a_part_of_a_version(store: ModelStore, root: str) -> None:
    store.publish("m", version(b"0"), "production")
    done = threading.Event()

    def read() -> int:
        rounds = 0
        while not done.is_set():
            check_readable(root)
            rounds += 1
        return rounds

    with ThreadPoolExecutor(1) as pool:
        rounds = pool.submit(read)
        try:
            for i in range(1, 8):
                store.publish("m", version(b"%d" % i), "production")
        finally:
            done.set()
        assert rounds.result() > 0
