from hypothesis import given
from hypothesis import strategies as st

from deploy.batch.parts import numbers_of, part_name, split


@given(paths=st.lists(st.text()), part_images=st.integers(1, 7))
def test_parts_hold_every_path_once_and_in_order(paths: list[str], part_images: int) -> None:
    parts = split(paths, part_images)
    assert [path for part in parts for path in part.paths] == paths
    assert [part.number for part in parts] == list(range(len(parts)))
    assert all(len(part.paths) == part_images for part in parts[:-1])
    assert all(part.paths for part in parts)


@given(st.sets(st.integers(0, 10**7)))
def test_a_part_is_known_by_its_name(numbers: set[int]) -> None:
    assert numbers_of(part_name(number) for number in numbers) == numbers


def test_names_sort_as_their_numbers() -> None:
    numbers = [0, 9, 10, 99_999, 100_000, 999_999]
    assert sorted(numbers, key=part_name) == numbers


def test_nothing_else_is_a_part() -> None:
    others = [
        "_job.json",
        ".part-000001.parquet#7",
        "part-000001.parquet#7",
        "a/part-000001.parquet",
    ]
    assert numbers_of(others) == set()
