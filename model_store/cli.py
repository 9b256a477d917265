"""The command line of the model store: `mixer store ...` or `python -m model_store ...`.

Exit codes: 0 done; 1 refused, with the reason on stderr; 2 wrong usage.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias, get_args

from model_store.errors import InvalidName, StoreError
from model_store.fetch import fetch_version
from model_store.importers import Format
from model_store.manifest import Manifest
from model_store.names import VersionRef, parse_reference
from model_store.store import ModelStore
from model_store.variants import variant_name

Options = argparse.Namespace
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
_DESCRIPTION = "Work on a store of Mixer models."
_REFERENCE = "name (production, else latest), name@version, name@alias or name@latest"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m model_store`; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m model_store", description=_DESCRIPTION)
    _add_store_commands(parser)
    return run(parser.parse_args(arguments))


def add_commands(subparsers: Commands) -> None:
    """Add `store` and all beneath it to a program's commands; its options are for `run`."""
    summary = "work on the model store"
    _add_store_commands(subparsers.add_parser("store", help=summary, description=_DESCRIPTION))


def run(options: Options) -> int:
    """Do what was parsed; return the exit code."""
    command: Callable[[ModelStore, Options], int] = options.store_command
    try:
        return command(ModelStore(options.root, cache_dir=options.cache_dir), options)
    except (StoreError, OSError) as error:
        return _refuse(error)


def _add_store_commands(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Exit codes: 0 done, 1 refused (the reason is on stderr), 2 wrong usage."
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_readers(commands)
    _add_writers(commands)
    _add_exchange(commands)


def _add_readers(commands: Commands) -> None:
    listing = _add(commands, "list", _list, "list versions and the aliases that point at them")
    listing.add_argument("model", nargs="?", help="only this model")
    listing.add_argument("--json", action="store_true", help="print a JSON array")
    show = _add(commands, "show", _show, "show what a version says of itself")
    show.add_argument("reference", help=_REFERENCE)
    show.add_argument("--json", action="store_true", help="print the whole manifest")
    resolve = _add(commands, "resolve", _resolve, "print the version that a reference means now")
    resolve.add_argument("reference", help=_REFERENCE)
    verify = _add(commands, "verify", _verify, "compare every byte with what was published")
    verify.add_argument("reference", nargs="?", help=f"{_REFERENCE}; left out: every version")
    fetch = _add(commands, "fetch", _fetch, "copy versions, checked, into a folder's store")
    fetch.add_argument("references", nargs="+", metavar="reference", help=_REFERENCE)
    fetch.add_argument("--to", type=Path, required=True, help="the folder; made where needed")


def _add_writers(commands: Commands) -> None:
    alias = commands.add_parser("alias", help="set or remove an alias")
    actions = alias.add_subparsers(required=True, metavar="ACTION")
    setting = _add(actions, "set", _set_alias, "point an alias at a version, at once for everyone")
    setting.add_argument("alias", help="such as production")
    setting.add_argument("reference", help=_REFERENCE)
    removing = _add(actions, "rm", _remove_alias, "remove an alias; its version stays")
    removing.add_argument("model")
    removing.add_argument("alias")
    delete = _add(commands, "delete", _delete, "delete a version for good")
    delete.add_argument("reference", help="name@version")
    delete.add_argument(
        "--unfinished",
        action="store_true",
        help="remove what a crashed publish or delete left; its publisher must not be running",
    )


def _add_exchange(commands: Commands) -> None:
    importing = _add(commands, "import", _import, "publish weights from another project's file")
    importing.add_argument("format", choices=get_args(Format))
    importing.add_argument("file", type=Path)
    importing.add_argument("--name", required=True, help="name of the model")
    importing.add_argument("--alias", help="point this alias at the new version")
    importing.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    importing.add_argument("--labels", type=Path, help="text file: one class per line, in order")
    gelu = "the weights' GELU: erf for timm's miil_* (default: %(default)s)"
    importing.add_argument("--gelu", choices=("tanh", "erf"), default="tanh", help=gelu)
    resize = "the weights' resize: bilinear for timm's miil_* (default: the format's)"
    importing.add_argument("--filter", choices=("area", "bilinear", "bicubic"), help=resize)
    importing.add_argument(
        "--input-range",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="what bytes 0 and 255 become: 0 1 for timm's miil_* (default: -1 1)",
    )
    exporting = _add(commands, "export", _export, "write a version's weights to a file, as float32")
    exporting.add_argument("format", choices=get_args(Format))
    exporting.add_argument("reference", help=_REFERENCE)
    exporting.add_argument("file", type=Path)


def _add(
    commands: Commands,
    name: str,
    command: Callable[[ModelStore, Options], int],
    summary: str,
) -> argparse.ArgumentParser:
    description = f"{summary[0].upper()}{summary[1:]}."
    parser = commands.add_parser(name, help=summary, description=description)
    parser.set_defaults(store_command=command)
    parser.add_argument("--root", required=True, help="the store: a path, or s3:// or gs:// URL")
    cache_help = "verified copies from remote stores (default: ~/.cache/mixer)"
    parser.add_argument("--cache-dir", type=Path, help=cache_help)
    return parser


def _list(store: ModelStore, options: Options) -> int:
    versions = store.list(options.model)
    aliases = {ref.model: store.aliases(ref.model).items() for ref in versions}
    names = {ref: sorted(a for a, v in aliases[ref.model] if v == ref.version) for ref in versions}
    if options.json:
        rows = [{"model": r.model, "version": r.version, "aliases": names[r]} for r in versions]
        print(json.dumps(rows, indent=1))
        return 0
    for ref in versions:
        print(f"{ref}  {', '.join(names[ref])}".rstrip())
    return 0


def _show(store: ModelStore, options: Options) -> int:
    ref = store.resolve(options.reference)
    manifest = store.manifest(ref)
    if options.json:
        print(manifest.to_json().decode(), end="")
        return 0
    for name, value in {"version": str(ref), **_summary(manifest)}.items():
        print(f"{name:15} {value or '-'}")
    return 0


def _summary(manifest: Manifest) -> dict[str, str]:
    architecture, training = manifest.architecture, manifest.training
    metrics = training.metrics if training else {}
    return {
        "architecture": f"{variant_name(architecture)}, {architecture.image_size} pixels, "
        f"{architecture.num_classes} classes, {architecture.parameter_count:,} parameters",
        "settings": architecture.model_dump_json(),
        "preprocessing": manifest.preprocessing.model_dump_json(),
        "labels": ", ".join(manifest.labels[:10]) + (" ..." if len(manifest.labels) > 10 else ""),
        "stored as": manifest.dtype,
        "made by": manifest.provenance.source,
        "made at": manifest.provenance.created_at.isoformat(),
        "command": manifest.provenance.command,
        "trained on": training.dataset if training else "unknown",
        "measured": ", ".join(f"{name} {value:g}" for name, value in metrics.items()),
        "bytes": f"{sum(file.bytes for file in manifest.files.values()):,}",
    }


def _resolve(store: ModelStore, options: Options) -> int:
    print(store.resolve(options.reference))
    return 0


def _verify(store: ModelStore, options: Options) -> int:
    worst = 0
    for ref in [store.resolve(options.reference)] if options.reference else store.list():
        try:
            store.verify(ref)
        except StoreError as error:
            worst = _refuse(error)
        else:
            print(f"{ref}  as published")
    return worst


def _fetch(store: ModelStore, options: Options) -> int:
    for reference in options.references:
        print(fetch_version(store, reference, options.to))
    return 0


def _set_alias(store: ModelStore, options: Options) -> int:
    ref = store.resolve(options.reference)
    store.set_alias(options.alias, ref)
    print(f"{ref.model}@{options.alias} is {ref}")
    return 0


def _remove_alias(store: ModelStore, options: Options) -> int:
    store.remove_alias(options.model, options.alias)
    return 0


def _delete(store: ModelStore, options: Options) -> int:
    model, version = parse_reference(options.reference)
    if not isinstance(version, int):
        msg = "delete takes name@version: what a name or an alias means may be another by now"
        raise InvalidName(msg)
    store.delete(VersionRef(model, version), unfinished=options.unfinished)
    return 0


def _import(store: ModelStore, options: Options) -> int:
    from model_store.exchange import import_checkpoint  # noqa: PLC0415  (loads jax)

    given = {"filter": options.filter, "input_range": options.input_range}
    checkpoint = import_checkpoint(
        options.format,
        options.file,
        command=shlex.join(sys.argv),
        labels=_read_labels(options.labels) if options.labels else (),
        gelu=options.gelu,
        pipeline={name: value for name, value in given.items() if value is not None},
        dtype=options.dtype,
    )
    print(store.publish(options.name, checkpoint, options.alias))
    return 0


def _read_labels(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        msg = f"{path} is no text in UTF-8"
        raise StoreError(msg) from error


def _export(store: ModelStore, options: Options) -> int:
    from model_store.exchange import export_parameters  # noqa: PLC0415  (loads jax)

    folder = store.open(store.resolve(options.reference))
    export_parameters(options.format, folder, options.file)
    return 0


def _refuse(error: Exception) -> int:
    print(f"mixer store: {error}", file=sys.stderr)
    return 1
