"""The parts of a job: equally many of its sorted images each, in a file of a fixed name."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_NAME = re.compile(r"part-(\d{6,})\.parquet")


class Part(NamedTuple):
    """Some of the job's images, computed by one worker and written by one put."""

    number: int
    paths: Sequence[str]


def part_name(number: int) -> str:
    """Return the name of a part's file.

    >>> part_name(7)
    'part-000007.parquet'
    """
    return f"part-{number:06d}.parquet"


def numbers_of(names: Iterable[str]) -> set[int]:
    """Return the numbers of the parts among these file names."""
    return {int(match[1]) for name in names if (match := _NAME.fullmatch(name))}


def split(paths: Sequence[str], part_images: int) -> list[Part]:
    """Return all parts of `part_images` paths each, the last with what is left."""
    starts = range(0, len(paths), part_images)
    return [Part(number, paths[start : start + part_images]) for number, start in enumerate(starts)]
