"""How a client asks and what it may expect of an answer, whatever it asked for."""

import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np

PROBLEM_FIELDS = {"type", "title", "status", "detail", "code", "request_id"}
RAW = {"Accept": "application/octet-stream"}
NPY = {"Accept": "application/x-npy"}

# What only the inside of a server says: paths, tracebacks, class names, addresses in memory.
_LEAK = re.compile(
    rf"{re.escape(str(Path.cwd()))}|"
    r"Traceback|File \"|/tmp/|/usr/|/home/|site-packages|\.py\b|0x[0-9a-f]{6}|<_io|PIL\b|"
    r"Pillow|pydantic|starlette|fastapi|binascii|orjson|numpy|jax|[A-Za-z]+Error\b|Exception|"
    r"line \d+ column|cannot identify|Input should|unable to parse|Extra inputs"
)

Json = dict[str, Any]


def assert_problem(answer: httpx.Response, status: int, code: str) -> Json:
    """Check an error's every public property; return the document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].partition(";")[0] == "application/problem+json"
    problem: Json = answer.json()
    assert set(problem) == PROBLEM_FIELDS
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    for field in ("type", "title", "detail"):
        assert isinstance(problem[field], str)
        assert problem[field]
    assert_no_leak(answer.text)
    return problem


def assert_no_leak(text: str) -> None:
    assert _LEAK.search(text) is None, text


def embedding(client: httpx.Client, data: bytes, **params: str) -> np.ndarray:
    """Return the float32 [dim] embedding of one image."""
    return embeddings(client, params, content=data).reshape(-1)


def embeddings(client: httpx.Client, params: dict[str, str], **request: Any) -> np.ndarray:
    answer = client.post("/embed", params=params, headers=RAW, **request)
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<f4")


def scores(answer: httpx.Response) -> dict[int, float]:
    """Return class id to score."""
    assert answer.status_code == 200, answer.text
    return scores_in(answer.json())


def scores_in(result: Json) -> dict[int, float]:
    return {entry["class_id"]: entry["score"] for entry in result["predictions"]}


def multipart(*files: bytes, name: str = "image") -> list[tuple[str, tuple[str, bytes, str]]]:
    """Return httpx's `files`: each says an untrue name and type, which count for nothing."""
    return [(name, (f"{at}.txt", data, "text/plain")) for at, data in enumerate(files)]
