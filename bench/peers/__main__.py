"""The service and its peers under the same load: `python -m bench.peers --version-dir DIR`.

DIR is the folder of a published version, STORE/MODEL/VERSION. Peers that are not installed are
named, and left out; `make bench-peers` installs them.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from bench.peers.contest import Contestant, Entrant, Load, NotServing, Score, entered, table
from bench.peers.options import Parts, Served
from bench.peers.peer import PEERS, Command, Peer, raw
from bench.pictures import photo_files
from bench.repetition import undisturbed
from model_store.contents import MANIFEST_FILE
from service.runtimes.program import Precision

OURS = "mixer serve"
# Of the five best classes; in another program of the same network the next ones may change places.
COMPARED: dict[Parts, int] = {"ours": 5, "ordinary": 1}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table; return 0, or 1 when our own service did not serve."""
    chosen = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # else servers would outlive it
    load = Load(_files(chosen.images), chosen.connections, chosen.seconds)
    try:
        with TemporaryDirectory() as folder, ExitStack() as stack:
            contestants = _contestants(chosen, cache=Path(folder, "compiled"))
            entrants = _enter(stack, contestants, load, Path(folder), COMPARED[chosen.parts])
            scores = _play_rounds(entrants, chosen.rounds)
    except NotServing as error:
        _tell(f"{OURS}: {error}")
        return 1
    print("\n".join(table(scores, OURS)))
    return 0


def _enter(
    stack: ExitStack, contestants: Sequence[Contestant], load: Load, folder: Path, compared: int
) -> list[Entrant]:
    """Start all servers until the end of the stack; return those that serve, ours first.

    All must name the same best classes, so many as are `compared`.

    Raises:
        NotServing: ours does not.
    """
    entrants: list[Entrant] = []
    for number, contestant in enumerate(contestants):
        log = folder / f"{number}.log"
        try:
            entrant = stack.enter_context(entered(contestant, load, log))
            require_agreement(entrant.classes, [e.classes for e in entrants], compared)
        except NotServing as error:
            _tell_failure(contestant.name, log, error)
            continue
        entrants.append(entrant)
    return entrants


def require_agreement(
    classes: Sequence[int], others: Sequence[Sequence[int]], compared: int
) -> None:
    """Refuse who names other best classes than the first of the others.

    Raises:
        NotServing: so many as are `compared` are not the same.
    """
    if others and classes[:compared] != others[0][:compared]:
        raise NotServing(f"names the classes {classes}, others {others[0]}")


def _play_rounds(entrants: Sequence[Entrant], rounds: int) -> dict[str, list[Score]]:
    """Return each one's scores; a peer that once fails leaves the contest.

    Raises:
        NotServing: ours fails.
    """
    scores: dict[str, list[Score]] = {entrant.name: [] for entrant in entrants}
    for turn in range(rounds):
        # Back and forth, so that none always follows the same other.
        for entrant in [e for e in entrants if e.name in scores][:: -1 if turn % 2 else 1]:
            try:
                found = undisturbed(entrant.play)
            except NotServing as error:
                _tell_failure(entrant.name, entrant.log, error)
                del scores[entrant.name]
                continue
            scores[entrant.name].append(found)
            _tell(f"round {turn + 1}, {entrant.name}: {found}")
    return scores


def _tell_failure(name: str, log: Path, error: NotServing) -> None:
    """Say why a server leaves, with the end of its log; without ours there is no contest.

    Raises:
        NotServing: it is ours.
    """
    _tell(log.read_text(errors="replace")[-3000:])
    if name == OURS:
        raise error
    _tell(f"{name}: {error}")


def _contestants(chosen: argparse.Namespace, cache: Path) -> list[Contestant]:
    served = Served(chosen.version_dir, chosen.precision, chosen.parts)
    serve_ours = partial(_our_command, served=served, cache=cache)
    found = [Contestant(OURS, serve_ours, "/classify", raw)]
    for peer in PEERS:
        if chosen.only and peer.package not in chosen.only:
            continue
        if not peer.available():
            _tell(f"{peer.name}: not installed here")
            continue
        _tell(f"{peer.name}: {_version(peer)}")
        command = partial(peer.command, served=served)
        found.append(Contestant(peer.name, command, peer.path, peer.encode))
    return found


def _our_command(port: int, *, served: Served, cache: Path) -> Command:
    model, number = served.version_dir.parts[-2:]
    options = {
        "port": port,
        "store": served.version_dir.parent.parent,
        "models": f"{model}@{number}",
        "runtime": "openvino",
        "precision": served.precision,
        "compile-cache-dir": cache,  # else a plan that an earlier version of ours left would serve
    }
    given = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "service", "serve", *given]


def _files(folder: Path | None) -> list[bytes]:
    if folder is not None:
        files = [file.read_bytes() for file in sorted(folder.rglob("*.jp*g"))]
        if not files:
            raise SystemExit(f"There is no .jpg or .jpeg file below {folder}.")
        return files
    return photo_files()


def _version(peer: Peer) -> str:
    distribution = {"pytriton": "nvidia-pytriton"}.get(peer.package, peer.package)
    try:
        return f"{distribution} {version(distribution)}"
    except PackageNotFoundError:
        return f"{distribution}, of unknown version"


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _version_dir(text: str) -> Path:
    """Return the folder of a version.

    Raises:
        ArgumentTypeError: it is none.
    """
    folder = Path(text).resolve()
    if not (folder / MANIFEST_FILE).exists():
        raise argparse.ArgumentTypeError(f"{text} has no {MANIFEST_FILE}: not a version's folder")
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    add = parser.add_argument
    add("--version-dir", type=_version_dir, required=True, help="STORE/MODEL/VERSION")
    add("--precision", choices=get_args(Precision), default="float32")
    add("--parts", choices=get_args(Parts), default="ours", help="of the peers (default ours)")
    add("--connections", type=int, default=64, help="each waits for its answer (default 64)")
    add("--seconds", type=float, default=2.0, help="of load in each turn (default 2)")
    add("--rounds", type=int, default=15, help="turns of each server (default 15)")
    add("--images", type=Path, help="folder of JPEG photos to send; default: drawn ones")
    add("--only", nargs="*", default=(), choices=[p.package for p in PEERS], help="these peers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
