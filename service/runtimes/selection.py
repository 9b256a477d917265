"""Which runtimes may serve a model here, and how a program of each is made.

jax is loaded only where XLA may serve: it takes longer than all else of a warm start.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig
from service.machine import available_cores
from service.runtimes import openvino
from service.runtimes.program import Program
from service.settings import Precision, Runtime, RuntimeSetting


@dataclass(frozen=True)
class Network:
    """All that a runtime needs to compute a model."""

    config: MixerConfig
    preprocessing: Preprocessing
    arrays: Mapping[str, np.ndarray]
    precision: Precision


@dataclass(frozen=True)
class Compiling:
    """Where runtimes keep what they find out, if anywhere, and who is told of each compilation."""

    on_compilation: Callable[[], None]
    cache_dir: Path | None = None


class Unsupported(Exception):
    """Nothing on this machine computes in the precision that is asked for."""


def runtimes(setting: RuntimeSetting, precision: Precision = "float32") -> tuple[Runtime, ...]:
    """Return the runtimes that may serve on this machine, the likely fastest first.

    On CPUs alone there is a choice; accelerators are XLA's, and int8 is OpenVINO's.

    Raises:
        Unsupported: it needs OpenVINO, and there is none.
    """
    if precision == "int8":
        if not openvino.is_available():
            raise Unsupported("precision int8 needs OpenVINO, and so an x86 CPU")
        return ("openvino",)
    if setting != "auto":
        return (setting,)
    if not openvino.is_available() or accelerator():
        return ("xla",)
    return ("openvino", "xla")


def import_likeliest(setting: RuntimeSetting, compiling: Compiling) -> None:
    """Import what the likeliest runtime needs; else making its first program would.

    Raises:
        Exception: whatever the runtime's packages raise.
    """
    if runtimes(setting)[0] == "openvino":
        openvino.import_all(compiling.cache_dir)
    else:
        _limit_threads()
        from service.runtimes import xla  # noqa: F401, PLC0415  (see above)


def make_program(runtime: Runtime, network: Network, compiling: Compiling) -> Program:
    """Make a program that has no batch size compiled yet.

    Raises:
        ImportError: the runtime is not installed.
    """
    parts = (network.config, network.preprocessing, network.arrays)
    if runtime == "openvino":
        return openvino.OpenVinoProgram(
            *parts,
            precision=network.precision,
            on_compilation=compiling.on_compilation,
            cache_dir=compiling.cache_dir,
        )
    _limit_threads()
    from service.runtimes import xla  # noqa: PLC0415  (see above)

    xla.use_compile_cache(compiling.cache_dir and compiling.cache_dir / "xla")
    xla.on_compilation(compiling.on_compilation)
    return xla.XlaProgram(*parts, precision=network.precision)


def accelerator() -> str:
    """Return how many accelerators of which kind jax finds, or nothing where there are CPUs alone.

    Raises:
        RuntimeError: JAX_PLATFORMS names a platform that is not there.
    """
    plugins = find_spec("libtpu"), find_spec("jax_plugins"), *entry_points(group="jax_plugins")
    if not any(plugins):
        return ""
    _limit_threads()
    import jax  # noqa: PLC0415

    devices = jax.local_devices()
    return "" if devices[0].platform == "cpu" else f"{len(devices)} {devices[0].device_kind}"


def _limit_threads() -> None:
    """Have XLA take a thread for each core that is ours; a container's quota is unknown to it.

    It has no option for that, only this variable, which it reads when jax first looks for devices.
    """
    os.environ.setdefault("PJRT_NPROC", str(available_cores()))  # noqa: TID251  (set, not read)
