"""The service in a container, asked from outside."""

import json
import os
import signal
import socket
import subprocess
from typing import IO, Any

from tests.deploy.container import Container, first_process


def one_start(service: Container, settings: dict[str, str]) -> tuple[object, str]:
    """Start and stop; return the batch latencies of the model that served, and the log."""
    port = free_port()
    with service.start({**settings, "MIXER_PORT": str(port)}) as unshare:
        assert unshare.stdout
        log = read_until_ready(unshare.stdout)
        (model,) = curl(f"http://127.0.0.1:{port}/models")["models"]
        os.kill(first_process(unshare), signal.SIGTERM)
        log += unshare.stdout.read()
    assert unshare.returncode == 0, log
    return [version["buckets"] for version in model["versions"]], log


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
