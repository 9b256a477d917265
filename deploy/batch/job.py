"""What a job computes: fixed at its first start, beside what it writes.

    <output>/_inputs-<digest>.txt   the images' paths beneath the input, sorted, one a line
    <output>/_job.json              put second, where nothing is: the job exists from here on
    <output>/part-000000.parquet    each put whole, where nothing is (see `deploy.batch.parts`)
    <output>/_SUCCESS               put when every part is there

There are no locks: each step is one atomic put, so that a start after a kill between any two finds
what is done, and two starts at once agree. Readers of Parquet folders pass over names with `_`.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.batch.parts import numbers_of
from model_store.bucket import Bucket
from model_store.errors import NotFound
from model_store.manifest import record
from model_store.names import VersionRef
from model_store.store import ModelStore
from service.settings import Precision

JOB_FILE = "_job.json"
SUCCESS_FILE = "_SUCCESS"

Task = Literal["classify", "embed"]


class JobRefused(Exception):
    """The job cannot be begun or gone on with; the message is one line that says why."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Asked(_Frozen):
    """All that decides what the rows hold and in which part they lie."""

    model: str
    version: int
    manifest_sha256: str = Field(description="of the version's manifest, which has all digests")
    input: str
    suffixes: tuple[str, ...] = Field(description="only paths that end so; none: every path")
    task: Task
    top_k: int | None
    normalize: bool
    precision: Precision
    decode_scaling: bool
    max_image_bytes: int
    max_image_pixels: int
    part_images: int


class Job(_Frozen):
    """A job that was begun: what was asked, of which images."""

    schema_version: Literal[1] = 1
    asked: Asked
    images: int
    inputs_file: str


def begin(
    output: Bucket, asked: Asked, list_images: Callable[[], Sequence[str]]
) -> tuple[Job, Sequence[str]]:
    """Return the output's job with its images, begun now where there is none yet.

    Raises:
        JobRefused: it was begun with something else, or there is no image, or the output has parts
            of no known job.
        StoreError: a storage does not answer.
    """
    job = _begun(output) or _begin(output, asked, list_images)
    if differences := _differences(job.asked, asked):
        raise JobRefused(
            f"{output.root} holds a job that was begun with {'; '.join(differences)}. Give what it "
            "was begun with (model@version, not an alias that moves), or another output"
        )
    return job, _inputs(output, job)


def manifest_sha256(store: ModelStore, ref: VersionRef) -> str:
    """Return what tells a version from every other: through the manifest, all its bytes.

    Raises:
        StoreError: there is no such version, or its manifest is not the one that was published.
    """
    return record(store.manifest_json(ref)).sha256


def select(paths: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """Return the paths with one of the suffixes, in whichever case; without suffixes, all.

    >>> select(["a.JPG", "b.txt"], [".jpg"])
    ['a.JPG']
    """
    wanted = tuple(suffix.lower() for suffix in suffixes)
    return [path for path in paths if not wanted or path.lower().endswith(wanted)]


def _begun(output: Bucket) -> Job | None:
    try:
        return Job.model_validate_json(output.get(JOB_FILE))
    except NotFound:
        return None
    except ValidationError as error:
        raise JobRefused(f"{output.root}/{JOB_FILE} is not a job of this program") from error


def _begin(output: Bucket, asked: Asked, list_images: Callable[[], Sequence[str]]) -> Job:
    if _has_parts(output):
        raise JobRefused(f"{output.root} has parts, and no {JOB_FILE}: give another output")
    images = list_images()
    if not images:
        only = f" that ends with {' or '.join(asked.suffixes)}" if asked.suffixes else ""
        raise JobRefused(f"there is no file{only} beneath {asked.input}")
    text = "\n".join(images).encode()
    # Named for its content, so that of two starts at once neither changes the other's list.
    name = f"_inputs-{_digest(text)}.txt"
    output.put(name, text)
    job = Job(asked=asked, images=len(images), inputs_file=name)
    if output.create(JOB_FILE, job.model_dump_json(indent=1).encode() + b"\n"):
        return job
    other = _begun(output)
    assert other is not None
    return other


def _has_parts(output: Bucket) -> bool:
    try:
        return bool(numbers_of(output.paths()))
    except NotFound:  # a local folder that is not there yet
        return False


def _inputs(output: Bucket, job: Job) -> Sequence[str]:
    text = b"".join(output.chunks(job.inputs_file))
    if job.inputs_file != f"_inputs-{_digest(text)}.txt":
        raise JobRefused(f"{output.root}/{job.inputs_file} is not the list that was written")
    return text.decode().split("\n")


def _differences(begun: Asked, now: Asked) -> list[str]:
    before, after = begun.model_dump(), now.model_dump()
    return [
        f"{name} {before[name]!r}, not {after[name]!r}"
        for name in before
        if before[name] != after[name]
    ]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
