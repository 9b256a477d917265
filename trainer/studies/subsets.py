"""Nested subsets of a data set that hold the classes in the shares of the whole."""

import numpy as np

from trainer.data import DataSet


def subset(data: DataSet, images: int, *, seed: int = 0) -> DataSet:
    """Return a random subset of so many images; with the same seed, smaller ones lie in larger.

    Raises:
        ValueError: fewer than one image, or more than there are.
    """
    if not 1 <= images <= len(data):
        msg = f"a subset of {images} images: allowed are 1 to {len(data)}"
        raise ValueError(msg)
    return data.select(np.sort(stratified_order(data.labels, seed)[:images]))


def stratified_order(labels_N: np.ndarray, seed: int) -> np.ndarray:
    """Return a random order int64 [N], each of whose beginnings has about the classes' shares.

    Image j of the n of its class, in random order, stands at about (j + 1/2)/n of the whole.
    """
    order_N = np.random.default_rng(seed).permutation(len(labels_N))
    places_N = np.empty(len(labels_N))
    for label in np.unique(labels_N):
        members = order_N[labels_N[order_N] == label]
        places_N[members] = (np.arange(len(members)) + 0.5) / len(members)
    # The sort is stable, so that classes of one size do not come in the order of their numbers.
    by_place: np.ndarray = order_N[np.argsort(places_N[order_N], kind="stable")]
    return by_place
