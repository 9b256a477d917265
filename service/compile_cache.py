"""What a start leaves for the next one: compiled programs, and what was measured of them.

    <root>/<machine>/xla/              XLA's executables, which jax names and checks
    <root>/<machine>/amx               whether OpenVINO could use AMX since the last boot
    <root>/<machine>/plans/<key>.json  the runtime that was chosen for a model, and its curve

Both depend on the processor and on the versions of the packages, hence the folder's name. Reading
never fails a start: what is missing, damaged or not readable is made anew. Whoever can write here
runs code in the service, so the folder must be its own.
"""

import hashlib
import json
import logging
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from service.curve import LatencyCurve
from service.machine import available_cores
from service.settings import Runtime

log = logging.getLogger("mixer.cache")

PACKAGES = ("mixer-serve", "jax", "jaxlib", "flax", "openvino")


class Plan(BaseModel):
    """How a model was found to be served best on this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: Runtime
    pads: bool
    latencies_s: dict[PositiveInt, PositiveFloat] = Field(min_length=1)
    golden_deviation: NonNegativeFloat

    @property
    def curve(self) -> LatencyCurve:
        """The measured latencies."""
        return LatencyCurve(self.latencies_s, pads=self.pads)


class CompileCache:
    """The cache beneath one folder; without a folder it remembers nothing."""

    def __init__(self, root: Path | None) -> None:
        self._folder = None if root is None else root.expanduser() / machine()

    @property
    def folder(self) -> Path | None:
        """Where runtimes keep what they find out on this machine."""
        return self._folder

    def recall(self, key: str) -> Plan | None:
        """Return what was remembered under this key, if it can be read."""
        if self._folder is None or not (path := self._plan(key)).exists():
            return None
        try:
            return Plan.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            log.warning("%s is not a plan (%s): measuring anew", path, type(error).__name__)
            return None

    def remember(self, key: str, plan: Plan) -> None:
        """Write the plan, whole or not at all; a folder that cannot be written is only told of."""
        if self._folder is None:
            return
        path = self._plan(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=path.parent, suffix=".new", delete=False) as file:
                file.write(plan.model_dump_json().encode())
            Path(file.name).replace(path)
        except OSError as error:
            log.warning("the compile cache cannot be written (%s): the next start measures", error)

    def _plan(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / "plans" / f"{key}.json"


def key_of(**facts: Any) -> str:
    """Return the name under which a plan for exactly these JSON facts is remembered."""
    return _digest(facts)


@cache
def machine() -> str:
    """Return a name for this processor, the number of cores that are ours, and the versions."""
    packages = {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()}
    return _digest((platform.machine(), available_cores(), _processor(), packages))[:16]


def _processor() -> str:
    """Return the first core's kind and instructions, and nothing that changes while it runs."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().split("\n\n")[0].splitlines() if info.exists() else []
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features")))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
