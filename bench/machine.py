"""What the numbers were measured on."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CPU_INFO = Path("/proc/cpuinfo")
INTERESTING = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "amx_")
PACKAGES = ("jax", "jaxlib", "flax", "openvino", "numpy", "pillow", "uvicorn", "torch")
QUIET_LOAD = 0.5  # above it the numbers are those of a machine shared with something else


def facts() -> dict[str, Any]:
    """Return the machine's facts as plain data, in the order to be read."""
    info = CPU_INFO.read_text(encoding="utf-8") if CPU_INFO.exists() else ""
    packages = {name: _version(name) for name in PACKAGES}
    return {
        "cpu": cpu_model(info) or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "instructions": cpu_flags(info),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: found for name, found in packages.items() if found},
        "commit": _commit(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def cpu_model(info: str) -> str | None:
    """Return the first model name in the text of /proc/cpuinfo, if it has one."""
    return next((_after_colon(s) for s in info.splitlines() if s.startswith("model name")), None)


def cpu_flags(info: str) -> list[str]:
    """Return the first core's flags that decide how fast a matrix product is, sorted."""
    line = next((s for s in info.splitlines() if s.startswith("flags")), "flags:")
    return sorted(flag for flag in _after_colon(line).split() if flag.startswith(INTERESTING))


def describe(found: dict[str, Any]) -> str:
    """Return the facts as lines, with a warning when the machine was not quiet."""
    lines = [f"{name}: {_text(value)}" for name, value in found.items()]
    if found["load_at_start"] > QUIET_LOAD:
        lines.append(
            f"WARNING: the load average is {found['load_at_start']}, above {QUIET_LOAD}: something "
            "else runs here, and these numbers are not the machine's."
        )
    return "\n".join(lines)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    return " ".join(value) if isinstance(value, list) else str(value)


def _after_colon(line: str) -> str:
    return line.partition(":")[2].strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
