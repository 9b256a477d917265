import io
from pathlib import Path

from PIL import Image

from loadtest.pictures import FORMATS, LARGEST_SIDE, SMALLEST_SIDE, draw_pictures, main


def test_pictures_are_of_every_format_and_many_sizes() -> None:
    opened = [Image.open(io.BytesIO(picture.data)) for picture in draw_pictures(10, seed=1)]
    assert [image.format for image in opened] == [*FORMATS, *FORMATS]
    assert len({image.size for image in opened}) == 10
    for image in opened:
        image.load()
        assert all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in image.size)


def test_a_seed_decides_each_picture_whatever_their_number() -> None:
    assert draw_pictures(4, seed=1) == draw_pictures(6, seed=1)[:4]
    assert draw_pictures(1, seed=1) != draw_pictures(1, seed=2)


def test_the_command_writes_files(tmp_path: Path) -> None:
    assert main([str(tmp_path / "new"), "--count", "3", "--seed", "5"]) == 0
    written = {file.name: file.read_bytes() for file in (tmp_path / "new").iterdir()}
    assert written == {picture.name: picture.data for picture in draw_pictures(3, seed=5)}
