"""The images, built and run for real: `make image-test`; not part of `make test`, for it is slow.

Needs root, buildah, debootstrap, and an index for pip; where a tool is missing everything is
skipped, and the reason printed.
"""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from model_store.manifest import Manifest
from tests.deploy.buildah import REPOSITORY, Buildah, what_is_missing
from tests.deploy.container import Container, first_process

MISSING = what_is_missing()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"no image can be built: {MISSING}")

GOLDEN_VERSION = REPOSITORY / "model_store/builtin/cifar10-mixer/2"
TRAINERS_OWN = ("grain", "tyro", "matplotlib", "tensorboardx", "trainer")
BUILDERS_OWN = ("setuptools", "pip", "pytest", "mypy")
COMPILERS = ("gcc", "cc", "clang", "make", "ld")


@pytest.fixture(scope="module")
def buildah() -> Iterator[Buildah]:
    folder = REPOSITORY / "build" / "image-test"
    folder.mkdir(parents=True, exist_ok=True)
    builder = Buildah(folder)
    try:
        builder.make_base()
        yield builder
    finally:
        builder.remove()


@pytest.fixture(scope="module")
def service(buildah: Buildah) -> Container:
    return container(buildah, "service")


@pytest.fixture(scope="module")
def trainer(buildah: Buildah) -> Container:
    return container(buildah, "trainer")


def container(buildah: Buildah, target: str) -> Container:
    image = buildah.build(target)
    config = buildah.config(image)
    return Container(buildah.mount(image), config, writable=("/tmp", *config.volumes))


def test_the_service_serves_as_nobody_from_a_read_only_root(service: Container) -> None:
    port = free_port()
    with service.start({"MIXER_PORT": str(port)}) as unshare:
        assert unshare.stdout
        log = read_until_ready(unshare.stdout)
        process = first_process(unshare)
        assert_unprivileged(process, int(service.config.user.split(":")[0]))
        assert curl(f"http://127.0.0.1:{port}/readyz")["ok"] is True
        assert_classifies_the_golden_image(port)
        probe = service.config.healthcheck[1:]
        assert service.run(probe, {"MIXER_PORT": str(port)}) == (0, "")
        os.kill(process, signal.SIGTERM)
        log += unshare.stdout.read()
    assert unshare.returncode == 0, log
    assert "draining" in log
    assert "Read-only" not in log
    assert "Permission denied" not in log


def test_the_embedded_model_needs_no_writable_folder(service: Container) -> None:
    with replace(service, writable=()).start({"MIXER_PORT": str(free_port())}) as unshare:
        assert unshare.stdout
        log = read_until_ready(unshare.stdout)
        os.kill(first_process(unshare), signal.SIGTERM)
        log += unshare.stdout.read()
    assert unshare.returncode == 0, log
    assert "Read-only" not in log


def test_the_healthcheck_fails_without_a_service(service: Container) -> None:
    probe = service.config.healthcheck[1:]
    code, output = service.run(probe, {"MIXER_PORT": str(free_port())})
    assert code == 1
    assert "ConnectionRefusedError" in output


def test_the_root_is_read_only_and_the_volumes_are_not(service: Container) -> None:
    volume = service.config.volumes[0]
    script = "touch /tmp/a $0/a && ! touch /a /opt/mixer/a"
    code, output = service.run(["sh", "-c", script, volume], {})
    assert code == 0, output
    assert output.count("Read-only file system") == 2


def test_the_service_image_holds_the_service_alone(service: Container) -> None:
    packages = installed(service.root)
    assert "mixer_serve" in packages
    assert not packages & set(TRAINERS_OWN + BUILDERS_OWN)
    assert_nothing_of_the_build_is_left(service.root)


def test_every_module_is_compiled_for_good(service: Container) -> None:
    script = (
        "import importlib.util, pathlib, sysconfig\n"
        "folders = [sysconfig.get_path('stdlib'), sysconfig.get_path('purelib')]\n"
        "assert folders[1].startswith('/opt/mixer/')\n"
        "for source in (s for f in folders for s in pathlib.Path(f).rglob('*.py')):\n"
        "    cached = pathlib.Path(importlib.util.cache_from_source(source))\n"
        "    assert cached.read_bytes()[4] == 1, source\n"  # PEP 552: a hash that is not checked
    )
    assert service.run(["python", "-c", script], {}) == (0, "")


def test_the_trainer_finds_its_recipes(trainer: Container) -> None:
    packages = installed(trainer.root)
    assert {"mixer_trainer", "grain", "optax"} <= packages
    assert not packages & set(BUILDERS_OWN)
    assert_nothing_of_the_build_is_left(trainer.root)
    code, output = trainer.run(trainer.config.command, {})
    assert code == 0, output
    assert "cifar10" in output


def test_the_sizes_are_told(service: Container, trainer: Container) -> None:
    for name, root in {"service": service.root, "trainer": trainer.root}.items():
        whole, packages = size_mib(root), size_mib(root / "opt/mixer")
        print(f"\n{name}: {whole} MiB, of which the packages are {packages} MiB")
        assert packages < whole


def assert_unprivileged(process: int, uid: int) -> None:
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{process}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert status["Uid"].split() == [str(uid)] * 4
    assert status["NSpid"].split()[-1] == "1"
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"


def assert_classifies_the_golden_image(port: int) -> None:
    manifest = Manifest.model_validate_json((GOLDEN_VERSION / "manifest.json").read_bytes())
    golden = manifest.golden[0]
    answer = curl(
        *("--form", f"image=@{GOLDEN_VERSION / golden.file}"),
        f"http://127.0.0.1:{port}/classify?top_k=1",
    )
    best = max(range(len(golden.logits)), key=golden.logits.__getitem__)
    assert answer["predictions"][0]["class_id"] == best


def assert_nothing_of_the_build_is_left(root: Path) -> None:
    assert not (root / "build").exists()
    assert not (root / "etc/pip.conf").exists()
    assert not list(root.glob("root/.cache*")), "pip's cache"
    assert not [tool for tool in COMPILERS if (root / "usr/bin" / tool).exists()]


def installed(root: Path) -> set[str]:
    found = (root / "opt/mixer/lib").glob("python3*/site-packages/*.dist-info")
    return {folder.name.partition("-")[0].lower() for folder in found}


def size_mib(folder: Path) -> int:
    told = subprocess.run(
        ["du", "--summarize", "--one-file-system", "--block-size=1M", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(told.stdout.split()[0])


def read_until_ready(output: IO[str]) -> str:
    log = ""
    for line in output:
        log += line
        if "ready: open" in line:
            return log
    raise AssertionError(log)


def curl(*arguments: str) -> dict[str, Any]:
    command = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
