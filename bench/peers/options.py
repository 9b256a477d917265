"""The command line that every peer has: `--port`, `--version-dir`, `--precision` and `--parts`."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from service.runtimes.program import Precision

HOST = "127.0.0.1"

# Whose decoding and network: the service's own, or what one writes without it (`bench.ordinary`,
# `bench.ordinary_program`).
Parts = Literal["ours", "ordinary"]


@dataclass(frozen=True)
class Served:
    """A published version, in which type of products and activations, by whose parts."""

    version_dir: Path
    precision: Precision
    parts: Parts

    def flags(self) -> list[str]:
        """Return the command line that says so."""
        return [
            f"--version-dir={self.version_dir}",
            f"--precision={self.precision}",
            f"--parts={self.parts}",
        ]


@dataclass(frozen=True)
class Options:
    """Where a peer listens, and what it serves."""

    port: int
    served: Served


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; processes that a server spawns see the same one."""
    parser = argparse.ArgumentParser(description="Serve one published version behind a peer.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version-dir", type=Path, required=True, help="STORE/MODEL/VERSION")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--parts", choices=get_args(Parts), default="ours")
    given = parser.parse_args(arguments)
    return Options(given.port, Served(given.version_dir, given.precision, given.parts))
