"""The import of OpenVINO, each time in a new process: what it must not do is done only once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.runtimes import openvino_import


def run(code: str) -> str:
    # Another test of this process may have found AMX wanting, and set its limit for all children.
    environment = {k: v for k, v in os.environ.items() if k != "ONEDNN_MAX_CPU_ISA"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_does_not_report_home() -> None:
    code = (
        "import sys, os\n"
        "os.fork = None\n"  # its reporter sends from a forked process
        "from service.runtimes.openvino_import import import_openvino\n"
        "print(import_openvino().__name__, sys.modules['openvino_telemetry'])"
    )
    assert run(code).split() == ["openvino", "None"]


def test_the_converter_is_imported_for_who_asks_alone() -> None:
    code = (
        "import sys\n"
        "from service.runtimes.openvino_import import import_openvino\n"
        "import_openvino()\n"
        "print('openvino.tools.ovc' in sys.modules)\n"
        "from openvino.tools.ovc import convert_model\n"
        "print(convert_model.__name__, sys.modules['openvino_telemetry'])"
    )
    assert run(code).split() == ["False", "convert_model", "None"]


@pytest.mark.parametrize(("works", "limit"), [(True, "None"), (False, "AVX512_CORE_FP16")])
def test_amx_is_avoided_where_it_is_shown_and_a_trial_fails(
    tmp_path: Path, works: bool, limit: str
) -> None:
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text("flags : fpu amx_tile\n")
    code = (
        "import os, pathlib\n"
        "from service.runtimes import openvino_import as subject\n"
        f"subject.CPU_INFO = pathlib.Path({str(cpu_info)!r})\n"
        f"subject._TRIAL = {'pass' if works else 'import os; os.abort()'!r}\n"
        "subject.import_openvino()\n"
        "print(os.environ.get('ONEDNN_MAX_CPU_ISA'))"
    )
    assert run(code).strip() == limit


@pytest.mark.parametrize(("trial", "limit"), [("pass", "None"), ("1 / 0", "AVX512_CORE_FP16")])
def test_a_trial_is_made_once_for_each_cache(tmp_path: Path, trial: str, limit: str) -> None:
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text("flags : fpu amx_tile\n")
    for now in (trial, "pass", "1 / 0"):
        code = (
            "import os, pathlib\n"
            "from service.runtimes import openvino_import as subject\n"
            f"subject.CPU_INFO = pathlib.Path({str(cpu_info)!r})\n"
            f"subject._TRIAL = {now!r}\n"
            f"subject.import_openvino(pathlib.Path({str(tmp_path / 'cache')!r}))\n"
            "print(os.environ.get('ONEDNN_MAX_CPU_ISA'))"
        )
        assert run(code).strip() == limit


@pytest.mark.parametrize("kept", ["another-boot works", "", "damaged"])
def test_another_boots_outcome_is_not_believed(tmp_path: Path, kept: str) -> None:
    (tmp_path / "cpuinfo").write_text("flags : fpu amx_tile\n")
    (tmp_path / "amx").write_text(kept)
    code = (
        "import os, pathlib\n"
        "from service.runtimes import openvino_import as subject\n"
        f"subject.CPU_INFO = pathlib.Path({str(tmp_path / 'cpuinfo')!r})\n"
        "subject._TRIAL = '1 / 0'\n"
        f"subject.import_openvino(pathlib.Path({str(tmp_path)!r}))\n"
        "print(os.environ.get('ONEDNN_MAX_CPU_ISA'))"
    )
    assert run(code).strip() == "AVX512_CORE_FP16"


def test_no_trial_is_made_where_no_amx_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text("flags : fpu avx2\n")
    monkeypatch.setattr(openvino_import, "CPU_INFO", cpu_info)
    monkeypatch.setattr(subprocess, "run", None)
    openvino_import.import_openvino.__wrapped__()
