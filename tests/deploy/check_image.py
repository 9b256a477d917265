"""The images, built and run for real: `make image-test`; not part of `make test`, for it is slow.

Needs root, buildah, debootstrap, and an index for pip; where a tool is missing everything is
skipped, and the reason printed.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from model_store.manifest import Manifest
from tests.deploy.buildah import REPOSITORY, Buildah, what_is_missing
from tests.deploy.container import Container, first_process, kill
from tests.deploy.folders import installed, size_mib, written
from tests.deploy.serving import curl, free_port, one_start, read_until_ready

MISSING = what_is_missing()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"no image can be built: {MISSING}")

LOCUST = REPOSITORY / "deploy/loadtest/locust.yaml"
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
def loadtest(buildah: Buildah) -> Container:
    return container(buildah, "loadtest")


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
    without = replace(service, writable=())
    _, log = one_start(without, {})
    assert "the compile cache cannot be written" in log
    _, log = one_start(without, {"MIXER_COMPILE_CACHE_DIR": ""})
    assert "Read-only" not in log


def test_what_one_start_compiled_another_reads_that_may_not_write(
    service: Container, tmp_path: Path
) -> None:
    """As the Job and the servers of `deploy/components/compile-cache` share their volume."""
    user, group = map(int, service.config.user.split(":"))
    os.chown(tmp_path, user, group)
    inside = service.config.volumes[0]
    settings = {"MIXER_COMPILE_CACHE_DIR": inside, "MIXER_RUNTIME": "xla", "MIXER_BUCKETS": "1,3"}

    def buckets(mode: str) -> object:
        mounted = replace(service, writable=("/tmp",), mounts=(f"{tmp_path}:{inside}:{mode}",))
        measured, log = one_start(mounted, settings)
        assert "WARNING" not in log
        assert "Read-only" not in log
        return measured

    compiled = buckets("rw"), written(tmp_path)
    assert {"plans", "xla"} <= {part for path in compiled[1] for part in path.parts}
    assert (buckets("ro"), written(tmp_path)) == compiled


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
    assert service.config.labels["org.opencontainers.image.title"] == "mixer-serve"
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


def test_the_load_tests_pods_judge_a_service(service: Container, loadtest: Container) -> None:
    """The manifest's own commands, for half a minute, with what a cluster gives replaced."""
    assert_nothing_of_the_build_is_left(loadtest.root)
    master, worker = (
        each["spec"]["template"]["spec"]["containers"][0]
        for each in yaml.safe_load_all(LOCUST.read_text())
        if each["kind"] == "Job"
    )
    port = free_port()
    script = replaced(
        master["args"][0],
        {
            "//mixer ": f"//127.0.0.1:{port} ",
            "--users 40": "--users 10",
            "--run-time 10m": "--run-time 30s",
            "/results/": "/tmp/",
        },
    )
    find = replaced(worker["args"][-1], {"mixer-loadtest-master": "127.0.0.1"})
    working = [*worker["command"], *worker["args"][:-1], find]
    with ExitStack() as ending:
        unshare = ending.enter_context(service.start({"MIXER_PORT": str(port)}))
        ending.callback(kill, unshare)
        assert unshare.stdout
        read_until_ready(unshare.stdout)
        for _ in range(2):
            ending.callback(kill, ending.enter_context(loadtest.start({}, working)))
        code, output = loadtest.run([*master["command"], script], {})
    print(output)
    assert "objectives met" in output
    assert code in (0, 1), "no verdict; whether this machine meets the objectives is not asked"


def test_the_sizes_are_told(service: Container, trainer: Container, loadtest: Container) -> None:
    images = {"service": service, "trainer": trainer, "loadtest": loadtest}
    for name, root in {name: image.root for name, image in images.items()}.items():
        whole, packages = size_mib(root), size_mib(root / "opt/mixer")
        print(f"\n{name}: {whole} MiB, of which the packages are {packages} MiB")
        assert packages < whole


def replaced(text: str, parts: dict[str, str]) -> str:
    """Replace parts that must each be there once or more."""
    for part, other in parts.items():
        assert part in text
        text = text.replace(part, other)
    return text


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
