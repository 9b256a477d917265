"""The servers that are measured beside each other, in the same interleaved run.

The seam for peers: each is one more `Contender` here, which serves the same version on the loopback
and answers a POST of a JPEG.
"""

from functools import partial

from bench.job import Job
from bench.serving import Contender, mixer_serve
from service.runtimes import openvino

OURS, INT8 = "mixer", "mixer, int8"


def contenders(job: Job, model: str) -> list[Contender]:
    """Return who serves this published model, ours first."""

    def ours(name: str, **more: str) -> Contender:
        log = job.work / f"{name}.log"
        serve = partial(mixer_serve, log, store=job.store, model=model, cache=job.cache, **more)
        return Contender(name, serve)

    return [ours(OURS), *([ours(INT8, precision="int8")] if openvino.is_available() else [])]
