import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.tiny import draw_pictures
from trainer.data import ArrayPictures, DataError, FilePictures
from trainer.data.pictures import SelectedPictures, decode_image

PIXELS = draw_pictures(0, 5)


def write_png(file: Path) -> bytes:
    Image.fromarray(PIXELS[0]).save(file)
    return file.read_bytes()


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "another chunk"])
def test_unreadable_image_is_named(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "0.png"
    png = write_png(file)
    contents = {
        "empty": b"",
        "text": b"no picture at all",
        "truncated": png[: len(png) // 2],
        "another chunk": png.replace(b"IDAT", b"ID\0T"),
    }
    file.write_bytes(contents[damage])
    with pytest.raises(DataError, match=r"/0\.png: no readable image"):
        FilePictures([file])[0]


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"/gone\.png: no readable image"):
        FilePictures([tmp_path / "gone.png"])[0]


def test_every_mode_becomes_rgb() -> None:
    encoded = io.BytesIO()
    Image.fromarray(PIXELS[0]).convert("L").save(encoded, "PNG")
    assert decode_image(encoded, "grey.png").mode == "RGB"


def test_digest_of_files_is_of_their_contents_in_order(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file, content in zip(files, (b"1", b"2", b"1"), strict=True):
        file.write_bytes(content)
    a, b, c = files
    assert FilePictures([a, b]).digest() == FilePictures([c, b]).digest()
    assert FilePictures([a, b]).digest() != FilePictures([b, a]).digest()


def test_selection_is_those_pictures_in_that_order_under_their_own_names() -> None:
    whole = ArrayPictures(PIXELS, "train.npz")
    selected = SelectedPictures(whole, np.array([3, 1]))
    assert len(selected) == 2
    np.testing.assert_array_equal(selected[0], PIXELS[3])
    assert [selected.name(i) for i in range(2)] == ["train.npz[3]", "train.npz[1]"]


def test_digest_of_a_selection_sees_the_whole_and_the_choice() -> None:
    whole = ArrayPictures(PIXELS)
    digests = {
        SelectedPictures(pictures, np.array(indices)).digest()
        for pictures in (whole, ArrayPictures(PIXELS[::-1]))
        for indices in ([3, 1], [1, 3])
    }
    assert len(digests) == 4
    assert len(bytes.fromhex(digests.pop())) == 32
