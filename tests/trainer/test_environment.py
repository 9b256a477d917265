import platform

import jax

from trainer.environment import environment


def test_environment_names_what_runs_here() -> None:
    found = environment()
    assert found.packages["jax"] == jax.__version__
    assert found.python == platform.python_version()
    count, kind = found.devices.split(" ", 1)
    assert (int(count), kind) == (jax.device_count(), jax.devices()[0].device_kind)
    assert found.machine
