"""The Dockerfile obeys hadolint, and the rules of ours that hadolint does not know."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deploy.buildah import BASE, REPOSITORY

TEXT = (REPOSITORY / "Dockerfile").read_text()
FINAL_STAGES = ("service", "trainer", "loadtest")
LABELS = ("title", "description", "version", "revision")

Stage = list[tuple[str, str]]


def hadolint(text: str) -> list[str]:
    command = [str(Path(sys.executable).with_name("hadolint")), "--format", "json", "-"]
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=False)
    return [f"{found['code']} line {found['line']}" for found in json.loads(done.stdout)]


def stages(text: str) -> dict[str, Stage]:
    """Return the instructions of each stage, with their arguments on one line."""
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    found: dict[str, Stage] = {"": []}
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            found[arguments.rpartition(" ")[2]] = []
        list(found.values())[-1].append((name, " ".join(arguments.split())))
    return found


STAGES = stages(TEXT)


def values(stage: str, instruction: str) -> list[str]:
    return [arguments for name, arguments in STAGES[stage] if name == instruction]


def test_hadolint_finds_nothing() -> None:
    assert hadolint(TEXT) == []


@pytest.mark.parametrize(
    ("good", "bad", "rule"),
    [
        ("COPY service service", "ADD service service", "DL3020"),
        ('CMD ["serve"]', "CMD serve", "DL3025"),
        ("USER 65532:65532", "USER root", "DL3002"),
    ],
)
def test_hadolint_finds_what_is_made_worse(good: str, bad: str, rule: str) -> None:
    assert good in TEXT
    assert any(found.startswith(rule) for found in hadolint(TEXT.replace(good, bad)))


def test_the_base_is_pinned_to_a_python_and_a_debian() -> None:
    assert values("", "ARG") == [f"BASE={BASE}"]
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", BASE)
    bases = {arguments.split()[0] for stage in STAGES for arguments in values(stage, "FROM")}
    assert bases - STAGES.keys() == {"${BASE}"}


def test_the_service_is_what_is_built_by_default() -> None:
    assert list(STAGES)[-1] == "service"


@pytest.mark.parametrize("stage", FINAL_STAGES)
def test_the_user_is_a_number_that_is_not_root(stage: str) -> None:
    (user,) = values(stage, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_the_users_of_image_and_jobset_are_the_same() -> None:
    jobset = (REPOSITORY / "deploy/trainer/jobset.yaml").read_text()
    (user,) = values("trainer", "USER")
    assert f"runAsUser: {user.split(':')[0]}\n" in jobset


@pytest.mark.parametrize("stage", FINAL_STAGES)
@pytest.mark.parametrize("instruction", ["ENTRYPOINT", "CMD"])
def test_signals_reach_the_program_for_no_shell_is_between(stage: str, instruction: str) -> None:
    (arguments,) = values(stage, instruction)
    assert all(isinstance(argument, str) for argument in json.loads(arguments))


@pytest.mark.parametrize("stage", FINAL_STAGES)
def test_labels_tell_title_version_and_revision(stage: str) -> None:
    (labels,) = values(stage, "LABEL")
    assert re.findall(r"org\.opencontainers\.image\.(\w+)=", labels) == list(LABELS)


@pytest.mark.parametrize(
    ("stage", "project"),
    [
        ("service", "pyproject.toml"),
        ("trainer", "trainer/pyproject.toml"),
        ("loadtest", "pyproject.toml"),
    ],
)
def test_the_version_is_the_projects(stage: str, project: str) -> None:
    version = tomllib.loads((REPOSITORY / project).read_text())["project"]["version"]
    assert f"VERSION={version}" in values(stage, "ARG")


def test_the_service_is_probed_and_what_ends_by_itself_is_not() -> None:
    (probe,) = values("service", "HEALTHCHECK")
    command = json.loads(probe.partition(" CMD ")[2])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "HEALTHCHECK", "exec")
    assert "/livez" in command[2]
    assert values("trainer", "HEALTHCHECK") == values("loadtest", "HEALTHCHECK") == ["NONE"]


def test_pip_installs_hashed_locks_or_the_project_itself_and_leaves_no_cache() -> None:
    runs = [arguments for stage in STAGES for arguments in values(stage, "RUN")]
    installs = re.findall(r"pip [^&]*? install ([^&]*)", " && ".join(runs))
    assert len(installs) == 5
    for arguments in installs:
        assert "--no-cache-dir" in arguments
        assert ("--require-hashes" in arguments) != ("--no-index" in arguments)


def test_nothing_of_the_trainer_is_copied_for_the_service() -> None:
    for stage in ("base", "packages", "service-packages", "service"):
        assert not [arguments for arguments in values(stage, "COPY") if "trainer" in arguments]


def test_only_what_is_copied_is_sent_to_the_builder() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    sources = {
        source.partition("/")[0]
        for stage in STAGES
        for arguments in values(stage, "COPY")
        if "--from" not in arguments
        for source in arguments.split()[:-1]
    }
    assert "*" in lines
    assert sent == sources
    assert all((REPOSITORY / name).exists() for name in sent)


@pytest.mark.parametrize("accelerator", ["cpu", "cuda", "tpu"])
def test_every_accelerator_has_a_lock_that_agrees_with_both_programs(accelerator: str) -> None:
    added = pins(accelerator)
    for program in ("service", "trainer"):
        needed = pins(program)
        common = added.keys() & needed.keys()
        assert {"jax", "jaxlib", "numpy"} <= common
        assert {name: added[name] for name in common} == {name: needed[name] for name in common}


def pins(lock: str) -> dict[str, set[str]]:
    """Return each package's versions: more than one where they differ by Python."""
    found: dict[str, set[str]] = {}
    for line in (REPOSITORY / "locks" / f"{lock}.txt").read_text().splitlines():
        if match := re.match(r"([\w.-]+)==([^\s;]+)", line):
            found.setdefault(match[1], set()).add(match[2])
    return found
