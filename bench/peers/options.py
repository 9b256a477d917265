"""The command line that every peer has: `--port`, `--version-dir` and `--precision`."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from service.runtimes.program import Precision

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Options:
    """Where a peer listens, and what it serves in which type of products and activations."""

    port: int
    version_dir: Path
    precision: Precision


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; processes that a server spawns see the same one."""
    parser = argparse.ArgumentParser(description="Serve one published version behind a peer.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version-dir", type=Path, required=True, help="STORE/MODEL/VERSION")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    return Options(**vars(parser.parse_args(arguments)))
