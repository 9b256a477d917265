from pathlib import Path

import pytest
from PIL import Image

from bench.job import QUICK, Job
from bench.pictures import PHOTO_SIZE, PHOTOS


def test_drawn_pictures_are_as_large_as_real_photos(tmp_path: Path) -> None:
    job = Job(QUICK, tmp_path)
    assert len(set(job.files)) == PHOTOS
    assert 70_000 < sum(map(len, job.files)) / PHOTOS < 120_000
    with Image.open(job.pictures / "00.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", PHOTO_SIZE)


def test_given_photos_are_taken_as_they_are(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    job = Job(QUICK, tmp_path, photos)
    with pytest.raises(ValueError, match="photos holds no file"):
        _ = job.files
    (photos / "b.jpg").write_bytes(b"b")
    (photos / "a.jpg").write_bytes(b"a")
    assert job.files == [b"a", b"b"]
