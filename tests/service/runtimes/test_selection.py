"""Which runtimes may serve here, and that jax stays out where it is not needed."""

import subprocess
import sys

import pytest

from service.runtimes import openvino, selection
from service.runtimes.openvino import OpenVinoProgram
from service.runtimes.selection import Compiling, Network, make_program, runtimes
from service.runtimes.xla import XlaProgram
from service.settings import Runtime
from tests.model_store.tiny import random_arrays
from tests.models import TINY, square_pipeline


@pytest.mark.parametrize("runtime", ["xla", "openvino"])
def test_a_named_runtime_is_the_only_one(runtime: Runtime) -> None:
    assert runtimes(runtime) == (runtime,)


@pytest.mark.parametrize(
    ("installed", "accelerator", "allowed"),
    [
        (True, False, ("openvino", "xla")),
        (True, True, ("xla",)),
        (False, False, ("xla",)),
    ],
)
def test_auto_lets_both_race_on_a_cpu_alone(
    monkeypatch: pytest.MonkeyPatch,
    installed: bool,
    accelerator: bool,
    allowed: tuple[Runtime, ...],
) -> None:
    monkeypatch.setattr(openvino, "is_available", lambda: installed)
    monkeypatch.setattr(selection, "_has_accelerator", lambda: accelerator)
    assert runtimes("auto") == allowed


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
        "import service.cli, service.server, sys\n"
        "print([m for m in ('jax', 'flax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
