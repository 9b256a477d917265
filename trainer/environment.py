"""On what a training runs: the machine, the code and the packages."""

import importlib.metadata
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import jax

RECORDED_PACKAGES = ("jax", "jaxlib", "flax", "optax", "grain", "numpy", "pillow")


@dataclass(frozen=True)
class Environment:
    """What can make a run's result differ, beside its settings and data."""

    code_revision: str | None
    machine: str
    devices: str
    python: str
    packages: dict[str, str]


def environment() -> Environment:
    """Return this process's environment."""
    return Environment(
        code_revision=code_revision(),
        machine=machine(),
        devices=f"{jax.device_count()} {jax.devices()[0].device_kind}",
        python=platform.python_version(),
        packages=package_versions(),
    )


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that do the arithmetic and read the data."""
    return {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}


def machine() -> str:
    """Return number and model of the CPU's cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.processor()


def code_revision() -> str | None:
    """Return the git commit of this source tree, or None outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        done = subprocess.run(  # noqa: S603 - a constant command
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
