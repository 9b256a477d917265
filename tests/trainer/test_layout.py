"""One device and eight, replicated and fully sharded: the same training."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer import many_devices

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def eight_devices() -> dict[str, Any]:
    """Train in a process with eight simulated devices."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.trainer.many_devices"],
        cwd=REPOSITORY,
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8"},
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("sharding", many_devices.SHARDINGS)
def test_eight_devices_have_the_losses_of_one(
    eight_devices: dict[str, Any], sharding: many_devices.Sharding
) -> None:
    assert eight_devices["devices"] == 8
    one = many_devices.train(sharding)
    losses = eight_devices[sharding]["losses"]
    np.testing.assert_allclose(losses, one["losses"], rtol=1e-4)
    assert losses[-1] < 0.9 * losses[0]


def test_fully_sharded_devices_hold_an_eighth_of_each_matrix_that_they_divide(
    eight_devices: dict[str, Any],
) -> None:
    held = eight_devices["fully_sharded"]["held_share"]
    assert held["MixerBlock_0/channel_mixing/Dense_0/kernel"] == 1 / 8  # 16 x 24
    assert held["MixerBlock_1/token_mixing/Dense_1/kernel"] == 1 / 8  # 40 x 4
    assert held["head/kernel"] == 1 / 8  # 16 x 3
    assert held["MixerBlock_0/channel_mixing/Dense_0/bias"] == 1
    replicated = eight_devices["replicated"]["held_share"]
    assert set(replicated.values()) == {1}


def test_optimiser_is_sharded_as_the_parameters_are(eight_devices: dict[str, Any]) -> None:
    # Parameters and Adam's two moments: three times the same.
    sharded = eight_devices["fully_sharded"]
    assert sharded["state_bytes"] == pytest.approx(3 * sharded["parameter_bytes"], rel=0.01)
    assert sharded["parameter_bytes"] < 0.4 * eight_devices["replicated"]["parameter_bytes"]
