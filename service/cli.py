"""The command `mixer`: `mixer serve` starts the service, `mixer store` works on the model store."""

import argparse
import gc
import sys
from collections.abc import Sequence

from model_store import cli as store_cli
from model_store.allocator import keep_freed_memory
from service import logs
from service.keys import read_keys
from service.machine import available_cores, default_frontends
from service.settings import InvalidSetting, Settings, environment_name, load_settings
from service.stores import Stores


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0 done, 1 refused, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="mixer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_serve(commands)
    store_cli.add_commands(commands)
    options = parser.parse_args(arguments)
    if options.command != "serve":
        gc.enable()  # off since the start of the process: see `service.__main__`
        return store_cli.run(options)
    try:
        return _serve(options)
    except InvalidSetting as error:
        print(f"mixer: {error}", file=sys.stderr)
        return 2


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "serve",
        help="start the service",
        description="Start the service. Every option is also an environment variable, named in "
        "brackets; the option wins.",
    )
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            metavar="VALUE",
            help=f"{field.description} Default: {shown} [{environment_name(name)}]".replace(
                "%", "%%"
            ),
        )


def _serve(options: argparse.Namespace) -> int:
    options_given = {name: getattr(options, name) for name in Settings.model_fields}
    given = {name: value for name, value in options_given.items() if value is not None}
    settings = load_settings(given)
    logs.begin(settings.log_level)
    keep_freed_memory()
    frontends = settings.frontends or default_frontends(available_cores())
    # Imported late: `mixer store` and `--help` need no server.
    if frontends > 1:
        from service.frontends.supervisor import Supervisor  # noqa: PLC0415

        gc.enable()
        return Supervisor(settings, frontends).run()
    read_keys(settings)  # before a model is read for nothing
    stores = Stores(settings)
    stores.open_ahead()
    import uvloop  # noqa: PLC0415

    from service.single import serve  # noqa: PLC0415

    uvloop.run(serve(settings, stores))
    return 0
