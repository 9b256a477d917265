"""Images built with buildah and debootstrap: no engine, no daemon, no registry."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TOOLS = ("buildah", "debootstrap", "unshare", "curl")
BASE = "python:3.11-slim-bookworm"
BASE_PACKAGES = "ca-certificates,python3-pip,python3-venv"
PIP_KEYS = ("index-url", "extra-index-url", "cert", "proxy", "trusted-host")


def what_is_missing() -> str:
    """Return why no image can be built here, or an empty string."""
    if os.geteuid() != 0:
        return "only root can make a base image and change the root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


@dataclass(frozen=True)
class ImageConfig:
    """What an image says about how it is run."""

    user: str
    folder: str
    command: tuple[str, ...]
    environment: dict[str, str]
    volumes: tuple[str, ...]
    healthcheck: tuple[str, ...]
    labels: dict[str, str]


class Buildah:
    """Images in a folder of their own, which no other tool on the machine sees."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = ("--root", str(folder / "images"), "--runroot", str(folder / "run"))

    def make_base(self) -> None:
        """Make Debian with its Python, where the official image has its own, under its name."""
        archive = self._folder / "base.tar"
        if not archive.exists():
            self._bootstrap(archive)
        container = self._run("from", "scratch").strip()
        self._run("add", container, str(archive), "/")
        self._run("commit", "--rm", container, f"localhost/{BASE}")

    def build(self, target: str) -> str:
        """Build a stage of the Dockerfile for the CPU; return the image's name."""
        pip_conf = self._folder / "pip.conf"
        settings = pip_settings()
        pip_conf.write_text("\n".join(["[global]", *(f"{k} = {v}" for k, v in settings.items())]))
        certificates = settings.get("cert")
        self._run(
            *("build", "--isolation", "chroot", "--pull=never", "--format", "docker"),
            *("--secret", f"id=pip_conf,src={pip_conf}"),
            *(("--volume", f"{certificates}:{certificates}:ro") if certificates else ()),
            *("--target", target, "--tag", f"localhost/mixer-{target}", str(REPOSITORY)),
        )
        return f"localhost/mixer-{target}"

    def config(self, image: str) -> ImageConfig:
        """Return the image's configuration."""
        said = json.loads(self._run("inspect", "--type", "image", image))["Docker"]["config"]
        return ImageConfig(
            user=said["User"],
            folder=said.get("WorkingDir") or "/",
            command=(*said["Entrypoint"], *said["Cmd"]),
            environment=dict(entry.split("=", 1) for entry in said["Env"]),
            volumes=tuple(said.get("Volumes") or ()),
            healthcheck=tuple(said["Healthcheck"]["Test"]),
            labels=said["Labels"],
        )

    def mount(self, image: str) -> Path:
        """Return the image's root file system."""
        container = self._run("from", "--pull=never", image).strip()
        return Path(self._run("mount", container).strip())

    def remove(self) -> None:
        """Unmount and remove every image, and all else but the base's archive."""
        self._run("umount", "--all")
        self._run("rm", "--all")
        self._run("rmi", "--all", "--force")
        for name in ("images", "run"):
            shutil.rmtree(self._folder / name, ignore_errors=True)

    def _bootstrap(self, archive: Path) -> None:
        root = self._folder / "base"
        shutil.rmtree(root, ignore_errors=True)
        packages = f"--include={BASE_PACKAGES}"
        _call("debootstrap", "--variant=minbase", packages, "bookworm", str(root))
        for name in ("python", "python3"):
            (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3")
        _call("tar", "--directory", str(root), "--create", "--file", str(archive), ".")
        shutil.rmtree(root)

    def _run(self, *arguments: str) -> str:
        return _call("buildah", *self._store, *arguments)


def pip_settings() -> dict[str, str]:
    """Return how this machine's pip reaches its index, less what is on this machine's disk."""
    settings = {}
    for line in _call(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in PIP_KEYS and "file:" not in value:
            settings[key] = value.strip("'\"")
    return settings


def _call(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}"
    return done.stdout
