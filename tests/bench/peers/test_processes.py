import os
import sys
from pathlib import Path

from bench.peers.processes import Process, family, parse_stat, read_processes, started

STAT = (
    "4711 (a (strange) name) S 17 4700 4699 0 -1 4194304 100 0 0 0 "
    "250 31 77 78 20 0 3 0 990011 123456 789 18446744073709551615"
)


def test_a_name_with_parentheses_and_spaces_does_not_shift_the_fields() -> None:
    assert parse_stat(STAT) == Process(
        pid=4711, state="S", parent_pid=17, session=4699, cpu_ticks=281, began_ticks=990011
    )


def test_a_family_is_all_descendants_and_the_orphans_of_the_session() -> None:
    root, child, orphan = _process(10, 1, 10), _process(9, 10, 10), _process(12, 1, 10)
    grandchild = _process(5, 9, 5)  # in a session of its own
    stranger, sibling = _process(13, 1, 13), _process(14, 2, 2)
    everyone = [sibling, grandchild, stranger, orphan, child, root]
    assert {p.pid for p in family(everyone, 10)} == {10, 9, 12, 5}
    assert family([stranger, sibling], 10) == []


CHILD = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), flush=True)
signal.pause()
"""

PARENT = f"""
import signal, subprocess, sys
sum(range(5_000_000))
subprocess.Popen([sys.executable, "-c", {CHILD!r}], start_new_session=True)
signal.pause()
"""


def test_a_child_that_stays_in_a_session_of_its_own_is_ended_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    with started([sys.executable, "-c", PARENT], log, leave_timeout_s=0.1) as server:
        os.set_blocking(reader, True)
        with os.fdopen(reader) as lines:
            child = int(lines.readline())
        assert server.cpu_s() > 0
        assert not server.has_ended()
        assert child in {p.pid for p in read_processes()}
    assert server.has_ended()
    assert child not in {p.pid for p in read_processes() if p.state != "Z"}


def _process(pid: int, parent_pid: int, session: int) -> Process:
    return Process(pid, "S", parent_pid, session, cpu_ticks=0, began_ticks=0)
