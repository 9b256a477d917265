import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model_store import cli
from model_store.bucket import Bucket
from model_store.importers.npz import read_npz, write_npz
from model_store.importers.timm import read_timm, write_timm
from model_store.manifest import PARAMETERS_FILE
from model_store.store import ModelStore
from tests.model_store.tiny import TINY, random_arrays
from tests.model_store.versions import version


class CommandLine:
    """Runs commands on one store, and returns exit code, stdout and stderr."""

    def __init__(self, store: ModelStore, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store, self._cache, self._capsys = store, cache, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        options = ("--root", self.store.root, "--cache-dir", str(self._cache))
        code = cli.main([*arguments, *options])
        return (code, *self._capsys.readouterr())

    def prints(self, *arguments: str) -> str:
        code, out, err = self(*arguments)
        assert (code, err) == (0, "")
        return out

    def refuses(self, *arguments: str) -> str:
        code, out, err = self(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith("mixer store: ")
        assert err.count("\n") == 1
        return err


@pytest.fixture
def mixer(store: ModelStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    store.publish("m", version(b"1"), "production")
    store.publish("m", version(b"2"))
    return CommandLine(store, tmp_path / "cache", capsys)


def test_list_shows_versions_and_aliases(mixer: CommandLine) -> None:
    mixer.store.publish("n", version())
    assert mixer.prints("list") == "m@1  production\nm@2  latest\nn@1  latest\n"
    assert mixer.prints("list", "n") == "n@1  latest\n"


def test_list_as_json(mixer: CommandLine) -> None:
    assert json.loads(mixer.prints("list", "--json")) == [
        {"model": "m", "version": 1, "aliases": ["production"]},
        {"model": "m", "version": 2, "aliases": ["latest"]},
    ]


def test_show_tells_what_a_version_is(mixer: CommandLine) -> None:
    shown = mixer.prints("show", "m@latest")
    for part in ("m@2", "custom, 12 pixels, 6 classes", "shorter_side", "ant, bee", "a test"):
        assert part in shown


def test_show_as_json_is_the_manifest(mixer: CommandLine) -> None:
    assert mixer.prints("show", "m", "--json").encode() == version(b"1").manifest.to_json()


def test_resolve(mixer: CommandLine) -> None:
    assert mixer.prints("resolve", "m") == "m@1\n"
    assert mixer.prints("resolve", "m@latest") == "m@2\n"


def test_verify(mixer: CommandLine) -> None:
    assert mixer.prints("verify", "m@2") == "m@2  as published\n"
    assert mixer.prints("verify") == "m@1  as published\nm@2  as published\n"


def test_verify_names_the_damaged_file_and_goes_on(mixer: CommandLine) -> None:
    Bucket(mixer.store.root).put(f"m/1/{PARAMETERS_FILE}", b"?")
    code, out, err = mixer("verify")
    assert code == 1
    assert out == "m@2  as published\n"
    assert err.endswith("the content of params.safetensors is not that of its SHA-256\n")
    assert "m@1" in mixer.refuses("verify", "m")


def test_fetch_copies_versions_into_a_folder(mixer: CommandLine, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    assert mixer.prints("fetch", "m", "m@latest", "--to", str(folder)) == "m@1\nm@2\n"
    assert "there is no model n" in mixer.refuses("fetch", "n", "--to", str(folder))
    assert ModelStore(str(folder)).list() == mixer.store.list()


def test_aliases_are_set_and_removed(mixer: CommandLine) -> None:
    assert mixer.prints("alias", "set", "canary", "m@latest") == "m@canary is m@2\n"
    assert mixer.store.aliases("m")["canary"] == 2
    mixer.prints("alias", "rm", "m", "canary")
    assert "canary" not in mixer.store.aliases("m")


def test_delete(mixer: CommandLine) -> None:
    assert "move or remove its alias production first" in mixer.refuses("delete", "m@1")
    mixer.prints("delete", "m@2")
    assert [ref.version for ref in mixer.store.list("m")] == [1]
    assert "nothing is left" in mixer.refuses("delete", "m@2", "--unfinished")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "n"), "there is no model n in"),
        (("list", "n"), "there is no model n in"),
        (("resolve", "m@9"), "there is no m@9 in"),
        (("resolve", "m@canary"), "m has no alias canary in"),
        (("resolve", "../m"), "model name '../m' is not"),
        (("delete", "m"), "delete takes name@version"),
        (("delete", "m@latest"), "delete takes name@version"),
        (("alias", "set", "latest", "m@1"), "alias latest cannot be set"),
        (("alias", "rm", "m", "canary"), "m has no alias canary"),
        (("import", "npz", "/no/such/file", "--name", "m"), "file"),
        (("import", "timm", "/no/such/file", "--name", "m"), "file"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_1(
    mixer: CommandLine, arguments: tuple[str, ...], message: str
) -> None:
    assert message in mixer.refuses(*arguments)


@pytest.mark.parametrize("arguments", [(), ("list",), ("frobnicate",), ("show", "--root", "x")])
def test_wrong_usage_is_exit_code_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        *[(name,) for name in ("list", "show", "resolve", "verify", "fetch", "alias", "delete")],
        *[("alias", "set"), ("alias", "rm"), ("import",), ("export",), ()],
    ],
)
def test_every_command_has_help(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main([*command, "--help"])
    assert exit_.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


@pytest.mark.parametrize("file_format", ["npz", "timm"])
def test_weights_are_imported_and_exported(
    mixer: CommandLine, tmp_path: Path, file_format: str
) -> None:
    arrays, labels = random_arrays(TINY), tmp_path / "labels.txt"
    (write_npz if file_format == "npz" else write_timm)(tmp_path / "weights", arrays)
    labels.write_text("ant\nbee\ncow\ndog\neel\nfüchsin\n", encoding="utf-8")
    options = ("--name", "n", "--alias", "production", "--labels", str(labels), "--gelu", "erf")
    pipeline = ("--filter", "bilinear", "--input-range", "0", "1", "--dtype", "bfloat16")
    weights = str(tmp_path / "weights")
    assert mixer.prints("import", file_format, weights, *options, *pipeline) == "n@1\n"
    manifest = mixer.store.verify(mixer.store.resolve("n@production"))
    assert manifest.labels[-1] == "füchsin"
    assert manifest.architecture.gelu == "erf"
    assert manifest.preprocessing.input_range == (0.0, 1.0)
    assert manifest.preprocessing.filter == "bilinear"

    mixer.prints("export", file_format, "n", str(tmp_path / "exported"))
    exported = (read_npz if file_format == "npz" else read_timm)(tmp_path / "exported").arrays
    for name, array in arrays.items():
        np.testing.assert_allclose(exported[name], array, rtol=2**-8)


def test_an_import_without_options_keeps_what_the_format_says(
    mixer: CommandLine, tmp_path: Path
) -> None:
    write_npz(tmp_path / "weights", random_arrays(TINY))
    mixer.prints("import", "npz", str(tmp_path / "weights"), "--name", "n")
    manifest = mixer.store.manifest(mixer.store.resolve("n"))
    assert manifest.preprocessing == read_npz(tmp_path / "weights").preprocessing
    assert (manifest.dtype, manifest.labels) == ("float32", ())
    assert mixer.store.aliases("n") == {"latest": 1}


def test_what_cannot_be_imported_or_exported_is_refused(mixer: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"\x80\x04\x95 no weights \xff")
    write_npz(tmp_path / "weights", random_arrays(TINY))
    junk, weights = str(tmp_path / "junk"), str(tmp_path / "weights")
    assert "junk" in mixer.refuses("import", "npz", junk, "--name", "n")
    assert "junk" in mixer.refuses("import", "timm", junk, "--name", "n")
    asked = ("import", "npz", weights, "--name", "n", "--labels")
    assert "is no text in UTF-8" in mixer.refuses(*asked, junk)
    assert "No such file" in mixer.refuses(*asked, str(tmp_path / "none"))
    assert "params.safetensors: " in mixer.refuses("export", "npz", "m", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        mixer("import", "pickle", weights, "--name", "n")


def test_a_bad_root_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["list", "--root", "ftp://host/models"]) == 1
    assert "neither a path nor an s3:// or gs:// URL" in capsys.readouterr().err
    assert cli.main(["list", "--root", str(tmp_path / "none")]) == 1
    assert "there is no store at" in capsys.readouterr().err


def test_the_commands_are_part_of_a_larger_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ModelStore(str(tmp_path)).publish("m", version())
    parser = argparse.ArgumentParser(prog="mixer")
    cli.add_commands(parser.add_subparsers(dest="command"))
    options = parser.parse_args(["store", "resolve", "m", "--root", str(tmp_path)])
    assert options.command == "store"
    assert cli.run(options) == 0
    assert capsys.readouterr().out == "m@1\n"


def test_the_package_is_a_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "model_store", "list", "--root", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"mixer store: there is no store at {tmp_path / 'none'}\n"
