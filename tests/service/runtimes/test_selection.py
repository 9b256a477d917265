"""Which runtimes may serve here, and that jax stays out where it is not needed."""

import subprocess
import sys
from types import SimpleNamespace

import jax
import pytest

from service.runtimes import openvino, selection
from service.runtimes.openvino import OpenVinoProgram
from service.runtimes.selection import (
    Compiling,
    Network,
    Unsupported,
    accelerator,
    make_program,
    runtimes,
)
from service.runtimes.xla import XlaProgram
from service.settings import Runtime, RuntimeSetting
from tests.model_store.tiny import random_arrays
from tests.models import TINY, square_pipeline


@pytest.mark.parametrize("runtime", ["xla", "openvino"])
def test_a_named_runtime_is_the_only_one(runtime: Runtime) -> None:
    assert runtimes(runtime) == (runtime,)


@pytest.mark.parametrize(
    ("installed", "found", "allowed"),
    [
        (True, "", ("openvino", "xla")),
        (True, "1 H200", ("xla",)),
        (False, "", ("xla",)),
    ],
)
def test_auto_lets_both_race_on_a_cpu_alone(
    monkeypatch: pytest.MonkeyPatch,
    installed: bool,
    found: str,
    allowed: tuple[Runtime, ...],
) -> None:
    monkeypatch.setattr(openvino, "is_available", lambda: installed)
    monkeypatch.setattr(selection, "accelerator", lambda: found)
    assert runtimes("auto") == allowed


@pytest.mark.parametrize("setting", ["auto", "openvino"])
@pytest.mark.parametrize("found", ["", "1 H200"])
def test_int8_is_openvinos_alone(
    monkeypatch: pytest.MonkeyPatch, setting: RuntimeSetting, found: str
) -> None:
    monkeypatch.setattr(selection, "accelerator", lambda: found)
    assert runtimes(setting, "int8") == ("openvino",)
    monkeypatch.setattr(openvino, "is_available", lambda: False)
    with pytest.raises(Unsupported, match="int8 needs OpenVINO"):
        runtimes(setting, "int8")


def test_without_plugins_there_is_no_accelerator_and_jax_is_not_loaded() -> None:
    code = (
        "import sys; from service.runtimes.selection import accelerator\n"
        "print([accelerator()], 'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[''] False"


@pytest.mark.parametrize(
    ("setting", "imported"),
    [("openvino", ["openvino"]), ("xla", ["jax"])],
)
def test_the_likeliest_runtime_alone_is_imported(setting: str, imported: list[str]) -> None:
    code = (
        "import sys; from service.runtimes.selection import Compiling, import_likeliest\n"
        f"import_likeliest({setting!r}, Compiling(lambda: None))\n"
        "print([name for name in ('jax', 'openvino') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(imported)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_xla_takes_a_thread_for_each_core_that_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's quota is unknown to it; it would take all cores of the machine."""
    code = (
        "import os; from service.runtimes import selection; selection.available_cores = lambda: 3\n"
        "selection.import_likeliest('xla', selection.Compiling(lambda: None))\n"
        "import jax; jax.numpy.ones((512, 512)).block_until_ready(); tasks = '/proc/self/task'\n"
        "names = [open(f'{tasks}/{task}/comm').read() for task in os.listdir(tasks)]\n"
        "print(names.count('tf_XLAEigen\\n'))"
    )
    monkeypatch.delenv("PJRT_NPROC", raising=False)  # what this process may have set for itself
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"


@pytest.mark.parametrize(
    ("platform", "found"), [("cpu", ""), ("gpu", "2 NVIDIA H200"), ("tpu", "2 NVIDIA H200")]
)
def test_accelerators_are_told_by_number_and_kind(
    monkeypatch: pytest.MonkeyPatch, platform: str, found: str
) -> None:
    device = SimpleNamespace(platform=platform, device_kind="NVIDIA H200")
    monkeypatch.setattr(selection, "find_spec", lambda name: name == "jax_plugins")
    monkeypatch.setattr(jax, "local_devices", lambda: [device, device])
    assert accelerator() == found


def test_programs_are_made_by_name() -> None:
    network = Network(TINY, square_pipeline(TINY), random_arrays(TINY, seed=1), "bfloat16")
    told: list[int] = []
    compiling = Compiling(lambda: told.append(1))
    found = {r: make_program(r, network, compiling) for r in ("xla", "openvino")}
    assert isinstance(found["xla"], XlaProgram)
    assert isinstance(found["openvino"], OpenVinoProgram)
    assert {program.precision for program in found.values()} == {"bfloat16"}
    found["xla"].compile(2)
    assert len(told) >= 2, "both tell of what they compile"


def test_jax_is_not_loaded_before_xla_is_asked_for() -> None:
    code = (
        "import service.cli, service.single, service.server, sys\n"
        "print([m for m in ('jax', 'flax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
