import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.processes import Stat, cpu_s, family, held, parse_stat

STAT = "17 (a) name (x y) S 4 17 17 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 3 0 8888 1 2 3"


def test_the_name_of_a_process_may_hold_anything() -> None:
    assert parse_stat(STAT, 100) == Stat(parent=4, cpu_s=3.0)


def test_a_family_is_a_process_and_all_below_it() -> None:
    parents = {1: 0, 2: 1, 3: 2, 4: 2, 5: 4, 6: 1}
    stats = {pid: Stat(parent, 0.0) for pid, parent in parents.items()}
    assert family(2, stats) == [2, 3, 4, 5]
    assert family(6, stats) == [6]
    with pytest.raises(ProcessLookupError, match="no process 7"):
        family(7, stats)


def test_cpu_time_of_a_child_is_its_parents_too() -> None:
    burn = "import sys, time\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert cpu_s(os.getpid()) >= cpu_s(child.pid) >= 0.1
        child.communicate(b"\n")


def test_what_this_process_holds_is_counted(tmp_path: Path) -> None:
    before = held(os.getpid())
    files = [(tmp_path / str(number)).open("w") for number in range(5)]
    after = held(os.getpid())
    for file in files:
        file.close()
    assert after.files == before.files + 5
    assert after.resident_bytes > 2**20
    assert after.threads >= 1
