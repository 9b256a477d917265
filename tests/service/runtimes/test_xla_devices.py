"""XLA on several devices: eight simulated ones, in a process of their own."""

import json
import os
import subprocess
import sys

DEVICES = 8

_PROGRAM = """
import json

import jax
import numpy as np

from service.runtimes.xla import XlaProgram
from tests.model_store.tiny import random_arrays
from tests.models import TINY, square_pipeline

arrays = random_arrays(TINY, seed=3)
one = XlaProgram(TINY, square_pipeline(TINY), arrays, devices=jax.local_devices()[:1])
all_devices = XlaProgram(TINY, square_pipeline(TINY), arrays)
report = {"device": all_devices.device, "one": one.device, "deviation": {}, "rows": {}}
for bucket in (3, 8, 16):
    for program in (one, all_devices):
        program.compile(bucket)
    images = np.random.default_rng(bucket).integers(0, 256, (bucket, 12, 12, 3), dtype=np.uint8)
    pairs = zip(one(images), all_devices(images), strict=True)
    report["deviation"][bucket] = max(float(np.abs(a - b).max()) for a, b in pairs)
    shards = jax.device_put(images, all_devices._rows(bucket)).addressable_shards
    report["rows"][bucket] = sorted({len(shard.data) for shard in shards})
print(json.dumps(report))
"""


def test_a_batch_is_split_between_devices_and_answered_as_by_one() -> None:
    flags = f"--xla_force_host_platform_device_count={DEVICES}"
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["device"] == f"{DEVICES} x {report['one']}"
    assert max(report["deviation"].values()) < 1e-5
    # Three images cannot be shared evenly by eight: each device computes them all.
    assert report["rows"] == {"3": [3], "8": [1], "16": [2]}
