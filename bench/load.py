"""Load from the generator in a process of its own, so that it competes as any client would."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Result = dict[str, Any]  # the fields of loadtest.result.LoadResult


@dataclass(frozen=True)
class Generator:
    """Runs `python -m loadtest.open_loop` with these pictures; results pass through a file."""

    images: Path
    result: Path

    def closed(self, url: str, clients: int, duration_s: float) -> Result:
        """Let so many clients ask again and again, each for one picture at a time."""
        return self._run(url, duration_s, "--clients", clients)

    def poisson(
        self, url: str, rate_per_s: float, duration_s: float, timeout_ms: int, seed: int
    ) -> Result:
        """Send at a mean rate whatever is answered; each request carries its deadline."""
        options = ("--rate", rate_per_s, "--timeout-ms", timeout_ms, "--seed", seed)
        return self._run(url, duration_s, *options)

    def _run(self, url: str, duration_s: float, *options: object) -> Result:
        command = [sys.executable, "-m", "loadtest.open_loop", "--url", url]
        command += ["--images", str(self.images), "--json", str(self.result)]
        command += ["--duration-s", str(duration_s), *map(str, options)]
        # It says on stderr what it cannot do.
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        found: Result = json.loads(self.result.read_text(encoding="utf-8"))
        return found
