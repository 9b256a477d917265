"""Our network agrees with timm's on the committed golden files; `make parity` asks timm itself."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from model_store.importers.imported import Gelu
from model_store.importers.timm import read_timm
from model_store.mixer import load_mixer

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("mixer_p16", "mixer_p32")


def relative_errors(name: str, *, ours: Gelu, timm: Gelu) -> list[float]:
    """Return the errors of logits and embedding, relative to timm's largest value."""
    expected = safetensors.numpy.load_file(GOLDEN / f"{name}.expected.safetensors")
    imported = read_timm(GOLDEN / f"{name}.timm.safetensors", gelu=ours)
    images_BxHxWx3 = jnp.asarray(expected["images"] / 127.5 - 1, jnp.float32)
    with jax.default_matmul_precision("highest"):
        outputs = jax.jit(load_mixer(imported.config, imported.arrays))(images_BxHxWx3)
    wanted = (expected[f"logits_{timm}"], expected[f"embedding_{timm}"])
    return [
        float(np.abs(found - value).max() / np.abs(value).max())
        for found, value in zip(outputs, wanted, strict=True)
    ]


@pytest.mark.parametrize("gelu", ["tanh", "erf"])
@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_timm(name: str, gelu: Gelu) -> None:
    assert max(relative_errors(name, ours=gelu, timm=gelu)) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_the_other_gelu_is_another_network(name: str) -> None:
    assert min(relative_errors(name, ours="erf", timm="tanh")) > 2e-5


@pytest.mark.parametrize("name", NAMES)
def test_no_two_dimensions_of_a_network_are_alike(name: str) -> None:
    config = read_timm(GOLDEN / f"{name}.timm.safetensors").config
    sizes = (config.tokens, config.width, config.token_mlp_width, config.channel_mlp_width)
    assert len({*sizes, config.num_classes, 3}) == 6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["timm", "expected"])
def test_the_files_state_their_origin(name: str, kind: str) -> None:
    path = GOLDEN / f"{name}.{kind}.safetensors"
    with safetensors.safe_open(path, framework="numpy") as file:
        origin = file.metadata()
    assert origin["made_by"] == "python -m tests.parity.make_golden"
    assert origin["versions"].startswith("timm 1.")
