"""A process in an image's root file system, as an engine would start it, without an engine.

Its own mounts and process numbers (so it is process 1), the root read-only but for the empty
folders in `writable` and the mounts, the image's user, folder and environment, no capabilities and
no way to get any. The network is the machine's.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.buildah import ImageConfig

# Arguments: root, user, group, the image's folder, writable folders and mounts (each separated by
# spaces), then the command.
ENTER = """
set -e
root=$1 user=$2 group=$3 folder=$4 writable=$5 mounts=$6
shift 6
mount --bind "$root" "$root"
mount --options remount,bind,ro "$root"
for each in $writable; do
  mount --types tmpfs --options "uid=$user,gid=$group" tmpfs "$root$each"
done
for each in $mounts; do
  inside=${each#*:}
  mount --bind "${each%%:*}" "$root${inside%:*}"
  mount --options "remount,bind,${inside#*:}" "$root${inside%:*}"
done
mount --types proc proc "$root/proc"
mount --rbind /dev "$root/dev"
exec chroot "$root" env --chdir="$folder" setpriv --reuid="$user" --regid="$group" \
  --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


@dataclass(frozen=True)
class Container:
    """An image's files and configuration, and what is writable when it runs.

    A mount is `FOLDER:INSIDE:ro` or `FOLDER:INSIDE:rw`; INSIDE is a folder of the image.
    """

    root: Path
    config: ImageConfig
    writable: tuple[str, ...]
    mounts: tuple[str, ...] = ()

    def start(
        self, environment: Mapping[str, str], command: Sequence[str] = ()
    ) -> "subprocess.Popen[str]":
        """Start the image's command, or another; its output and log come as `stdout`."""
        user, group = self.config.user.split(":")
        variables = {**self.config.environment, **environment}
        return subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--fork"),
                *("sh", "-c", ENTER, "enter"),
                *(str(self.root), user, group, self.config.folder),
                *(" ".join(self.writable), " ".join(self.mounts)),
                *("env", "-i", *(f"{name}={value}" for name, value in variables.items())),
                *(command or self.config.command),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        """Run a command to its end; return its exit code and output."""
        with self.start(environment, command) as process:
            output, _ = process.communicate()
        return process.returncode, output


def first_process(unshare: "subprocess.Popen[str]") -> int:
    """Return the number, on this side, of the process that is number 1 inside."""
    return int(Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text())


def kill(unshare: "subprocess.Popen[str]") -> None:
    """End all that is inside, if anything still is: the end of number 1 is that of the others.

    The end of `unshare` is not: the signal that it could send (`--kill-child`) is given up when
    the process inside becomes another user's.
    """
    for child in Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
