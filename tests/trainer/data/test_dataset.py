from dataclasses import replace

import numpy as np

from tests.trainer.tiny import CLASSES, draw_pictures
from trainer.data import ArrayPictures, DataSet

DATA = DataSet(ArrayPictures(draw_pictures(0, 3)), np.arange(3, dtype=np.int32), CLASSES)


def test_digest_sees_pixels_labels_and_names() -> None:
    others = [
        replace(DATA, pictures=ArrayPictures(draw_pictures(1, 3))),
        replace(DATA, labels=np.array([0, 2, 1], np.int32)),
        replace(DATA, classes=("blue", "green", "rouge")),
    ]
    assert len({each.digest() for each in (DATA, *others)}) == 4


def test_selected_pictures_keep_their_labels_and_the_count_of_bad_ones() -> None:
    selected = DATA.select(np.array([2, 0]))
    assert selected.labels.tolist() == [2, 0]
    for index, original in enumerate((2, 0)):
        picture, label = selected[index]
        assert label == original
        np.testing.assert_array_equal(picture, DATA[original][0])
    assert selected.bad is DATA.bad
