from itertools import pairwise

import numpy as np
import pytest

from tests.trainer.tiny import CLASSES, draw_pictures
from trainer.data import ArrayPictures, DataSet
from trainer.studies.subsets import stratified_order, subset

# 3 classes of 60, 30 and 10 images, in the order of the classes.
LABELS = np.repeat(np.arange(3, dtype=np.int32), (60, 30, 10))
PICTURES = ArrayPictures(np.concatenate([draw_pictures(0, 100)]), "made")
DATA = DataSet(PICTURES, LABELS, CLASSES)


def indices(images: int, seed: int = 0) -> set[int]:
    """Recognise the pictures of a subset in the whole."""
    found = subset(DATA, images, seed=seed)
    whole = [PICTURES.pixels[i].tobytes() for i in range(100)]
    return {whole.index(np.asarray(found[i][0]).tobytes()) for i in range(len(found))}


def test_smaller_subsets_lie_in_larger_ones() -> None:
    sizes = (1, 7, 30, 99, 100)
    nested = [indices(size) for size in sizes]
    assert [len(found) for found in nested] == list(sizes)
    for smaller, larger in pairwise(nested):
        assert smaller < larger


@pytest.mark.parametrize("seed", range(5))
def test_every_subset_has_about_the_shares_of_the_classes(seed: int) -> None:
    order = stratified_order(LABELS, seed)
    assert sorted(order) == list(range(100))
    for images in range(1, 101):
        counts = np.bincount(LABELS[order[:images]], minlength=3)
        np.testing.assert_allclose(counts, images * np.array([0.6, 0.3, 0.1]), atol=1.5)


def test_images_keep_their_labels() -> None:
    found = subset(DATA, 41)
    by_picture = {PICTURES.pixels[i].tobytes(): LABELS[i] for i in range(100)}
    for i in range(41):
        picture, label = found[i]
        assert by_picture[np.asarray(picture).tobytes()] == label


def test_other_seeds_choose_other_images() -> None:
    assert indices(30) == indices(30)
    assert indices(30) != indices(30, seed=1)


@pytest.mark.parametrize("images", [0, -1, 101])
def test_sizes_that_cannot_be_are_refused(images: int) -> None:
    with pytest.raises(ValueError, match=f"a subset of {images} images: allowed are 1 to 100"):
        subset(DATA, images)
