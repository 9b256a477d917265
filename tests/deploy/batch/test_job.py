"""The job is fixed at its first start, whoever starts it again, and with what."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from deploy.batch.job import JOB_FILE, JobRefused, begin, manifest_sha256, select
from deploy.batch.parts import part_name
from model_store.bucket import Bucket
from model_store.store import ModelStore
from tests.deploy.batch.asking import asked
from tests.model_store.versions import version

IMAGES = ["a.png", "b c/ü.jpg", "d#1.webp"]


@pytest.fixture
def output(tmp_path: Path) -> Bucket:
    """A folder that is not there yet."""
    return Bucket(str(tmp_path / "out"))


def never() -> NoReturn:
    raise AssertionError("the images were listed again")


def test_the_list_of_images_is_fixed_at_the_first_start(output: Bucket) -> None:
    job, images = begin(output, asked(), lambda: IMAGES)
    assert (job.images, images) == (3, IMAGES)
    assert begin(output, asked(), never) == (job, images)


def test_of_two_starts_at_once_both_do_the_job_of_the_first(output: Bucket) -> None:
    def list_while_another_begins() -> Sequence[str]:
        begin(output, asked(), lambda: IMAGES)
        return [*IMAGES, "new.png"]

    assert begin(output, asked(), list_while_another_begins)[1] == IMAGES
    assert begin(output, asked(), never)[1] == IMAGES


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"manifest_sha256": "cd" * 32}, f"manifest_sha256 '{'ab' * 32}', not '{'cd' * 32}'"),
        ({"version": 4}, "version 3, not 4"),
        ({"input": "s3://other"}, "input 's3://bucket/images', not 's3://other'"),
        ({"top_k": 1}, "top_k 2, not 1"),
        ({"part_images": 6}, "part_images 5, not 6"),
    ],
)
def test_a_job_is_not_gone_on_with_as_another(
    output: Bucket, change: dict[str, Any], said: str
) -> None:
    begin(output, asked(), lambda: IMAGES)
    with pytest.raises(JobRefused) as refusal:
        begin(output, asked(**change), never)
    assert str(refusal.value).startswith(f"{output.root} holds a job that was begun with {said}. ")


def test_every_difference_is_named(output: Bucket) -> None:
    begin(output, asked(), lambda: IMAGES)
    with pytest.raises(JobRefused, match="version 3, not 4; task 'classify', not 'embed'"):
        begin(output, asked(version=4, task="embed"), never)


def test_parts_of_an_unknown_job_are_not_taken_for_its_own(output: Bucket) -> None:
    output.put(part_name(0), b"someone's")
    with pytest.raises(JobRefused, match=r"has parts, and no _job\.json"):
        begin(output, asked(), never)


def test_without_images_there_is_no_job(output: Bucket) -> None:
    with pytest.raises(JobRefused, match=r"no file that ends with \.png beneath s3://bucket/im"):
        begin(output, asked(suffixes=[".png"]), list)
    assert not Path(output.root, JOB_FILE).exists()


def test_a_damaged_list_is_refused(output: Bucket) -> None:
    job, _ = begin(output, asked(), lambda: IMAGES)
    output.put(job.inputs_file, b"a.png")
    with pytest.raises(JobRefused, match="is not the list that was written"):
        begin(output, asked(), never)


def test_a_damaged_job_is_refused(output: Bucket) -> None:
    output.put(JOB_FILE, b"{}")
    with pytest.raises(JobRefused, match=r"_job\.json is not a job"):
        begin(output, asked(), never)


def test_suffixes_are_compared_in_whichever_case() -> None:
    paths = ["a.JPG", "b.jpg.txt", "c/d.jpeg", "e.png"]
    assert select(paths, [".jpg", ".JPEG"]) == ["a.JPG", "c/d.jpeg"]
    assert select(paths, []) == paths


def test_the_digest_tells_versions_apart(tmp_path: Path) -> None:
    store = ModelStore(str(tmp_path))
    one, other = (store.publish("m", version(data)) for data in (b"one", b"other"))
    assert manifest_sha256(store, one) != manifest_sha256(store, other)
    assert manifest_sha256(store, one) in Path(tmp_path, "m", "1", "claim").read_text()
