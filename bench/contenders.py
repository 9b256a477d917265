"""The servers that are measured beside each other, in the same interleaved run.

The seam for peers: each is one more `Contender` here, which serves the same version on the loopback
and answers a POST of a JPEG.
"""

from functools import partial

from bench.job import Job
from bench.serving import Contender, mixer_serve

OURS = "mixer"


def contenders(job: Job, model: str) -> list[Contender]:
    """Return who serves this published model, ours first."""
    ours = partial(
        mixer_serve, job.work / "mixer.log", store=job.store, model=model, cache=job.cache
    )
    return [Contender(OURS, ours)]
