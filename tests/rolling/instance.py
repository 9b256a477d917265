"""One instance of the service, restarted as a kubelet restarts a pod."""

import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.service.live import server_process


class Instance:
    """A `mixer serve` with an address of its own, as a pod has; 127.0.0.0/8 is all loopback."""

    def __init__(self, name: str, host: str, folder: Path, **settings: Any) -> None:
        self.name, self.host, self.port = name, host, free_port(host)
        self._folder, self._settings = folder, settings
        self._starts = 0
        self._process: subprocess.Popen[bytes]
        self._running = ExitStack()

    def start(self) -> None:
        """Start the process; return once it is ready."""
        self._starts += 1
        log = self._folder / f"{self.name}-{self._starts}.log"
        started = server_process(log, host=self.host, port=self.port, **self._settings)
        self._process, _ = self._running.enter_context(started)

    def terminate(self, grace_s: float) -> int:
        """Send SIGTERM and wait; return the exit code, which is -9 once the grace is over."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._running.close()

    def close(self) -> None:
        """Kill the process if there is one."""
        self._running.close()


def free_port(host: str) -> int:
    """Return a port that was free at this address a moment ago."""
    with socket.socket() as taken:
        taken.bind((host, 0))
        port: int = taken.getsockname()[1]
        return port
