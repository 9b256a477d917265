import json

import pytest

from bench.machine import cpu_flags, cpu_model, describe, facts

CPU_INFO = """processor\t: 0
model name\t: Some(R) Processor: 3 GHz
flags\t\t: fpu sse avx2 amx_tile avx512f avx512bw amx_bf16

processor\t: 1
model name\t: Another
flags\t\t: avx512_bf16
"""


def test_model_and_flags_are_the_first_cores() -> None:
    assert cpu_model(CPU_INFO) == "Some(R) Processor: 3 GHz"
    assert cpu_flags(CPU_INFO) == ["amx_bf16", "amx_tile", "avx2", "avx512f"]


def test_what_is_not_there_is_not_made_up() -> None:
    assert cpu_model("Features : fp asimd\n") is None
    assert cpu_flags("") == []


@pytest.mark.parametrize(("load", "warned"), [(0.5, False), (0.51, True)])
def test_a_busy_machine_is_warned_of(load: float, warned: bool) -> None:
    text = describe({"instructions": ["a", "b"], "packages": {"jax": "1"}, "load_at_start": load})
    assert text.startswith(f"instructions: a b\npackages: jax 1\nload_at_start: {load}")
    assert ("WARNING" in text) == warned


def test_the_facts_of_this_machine_are_plain_data() -> None:
    found = facts()
    assert json.loads(json.dumps(found)) == found
    assert found["cores"] >= 1
    assert {"jax", "numpy", "pillow"} <= found["packages"].keys()
