"""The import of OpenVINO, which must not be left to chance."""

import logging
import os
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

log = logging.getLogger("mixer.runtimes")

CPU_INFO = Path("/proc/cpuinfo")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

WITHOUT_AMX = "AVX512_CORE_FP16"  # the newest instructions without it

_CONVERTER = "openvino.tools.ovc"  # of other frameworks' models

# On import OpenVINO would report home, from a forked copy of this process. None makes the import
# of its reporter fail, for which it has a silent stand-in.
_SILENCE = "import sys; sys.modules['openvino_telemetry'] = None"

# A bfloat16 product, in the one way that shows whether the CPU's tiles can be used: using them.
_TRIAL = """
import numpy, openvino
from openvino import opset14 as op
x = op.parameter([-1, 96], numpy.float32)
product = op.matmul(x, op.constant(numpy.ones((96, 64), numpy.float32)), False, False)
model = openvino.Model([product], [x], "trial")
compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
assert (compiled(numpy.ones((40, 96), numpy.float32))[0] == 96).all()
"""


@cache
def import_openvino(cache_dir: Path | None = None) -> ModuleType:
    """Import OpenVINO silently, and kept from AMX where that would end the process.

    Some virtual machines show AMX and hide the size of its tiles (CPUID leaf 1DH); the first
    product then dies of an illegal instruction. So where AMX is shown, a child tries it first; the
    outcome is kept in `cache_dir` until the machine is started anew.
    """
    if "amx_tile" in _cpu_flags() and not _amx_works(cache_dir):
        log.warning("this CPU shows AMX, and a trial of it failed: going without")
        os.environ["ONEDNN_MAX_CPU_ISA"] = WITHOUT_AMX  # noqa: TID251  (set, not read)
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    # It can do without, which takes two thirds of the import.
    sys.modules.setdefault(_CONVERTER, None)  # type: ignore[arg-type]
    try:
        return import_module("openvino")
    finally:
        if sys.modules[_CONVERTER] is None:
            del sys.modules[_CONVERTER]  # for who asks for it


def _cpu_flags() -> str:
    return CPU_INFO.read_text() if CPU_INFO.exists() else ""


def _boot_id() -> str:
    return BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""


def _amx_works(cache_dir: Path | None) -> bool:
    kept = None if cache_dir is None else cache_dir / "amx"
    # The folder may be shared by machines that look alike and differ in this: hence the boot's id.
    outcomes = {works: f"{_boot_id()} {'works' if works else 'fails'}" for works in (True, False)}
    with suppress(OSError):
        known = kept.read_text() if kept is not None else ""
        if known in outcomes.values():
            return known == outcomes[True]
    command = [sys.executable, "-c", f"{_SILENCE}\n{_TRIAL}"]
    works = subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603
    if kept is not None:
        with suppress(OSError):  # tried again by the next start
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(outcomes[works])
    return works
