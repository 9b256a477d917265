"""Measures of a classifier from its logits [B, N] and the true class numbers int [B].

A tie with the true class, or a NaN, counts against the model, so that one which does not choose is
never right. Shares are in [0, 1].
"""

import numpy as np


def top_k_hits(logits_BxN: np.ndarray, labels_B: np.ndarray, k: int = 1) -> np.ndarray:
    """Return bool [B]: fewer than k other classes have a logit that is not below the true one's."""
    true_Bx1 = np.take_along_axis(logits_BxN, labels_B[:, None], axis=1)
    rivals_B = (~(logits_BxN < true_Bx1)).sum(axis=1) - 1
    hits_B: np.ndarray = rivals_B < k
    return hits_B


def predicted_classes(logits_BxN: np.ndarray, labels_B: np.ndarray) -> np.ndarray:
    """Return class numbers [B]: the true class where top-1 hits, else its strongest rival."""
    rivals_BxN = logits_BxN.copy()
    np.put_along_axis(rivals_BxN, labels_B[:, None], -np.inf, axis=1)
    return np.where(top_k_hits(logits_BxN, labels_B), labels_B, rivals_BxN.argmax(axis=1))


def confusion_matrix(logits_BxN: np.ndarray, labels_B: np.ndarray) -> np.ndarray:
    """Count images by true class (row) and predicted class (column), int64 [N, N].

    Its trace over B is the top-1 accuracy.
    """
    classes = logits_BxN.shape[1]
    cells_B = labels_B.astype(np.int64) * classes + predicted_classes(logits_BxN, labels_B)
    return np.bincount(cells_B, minlength=classes**2).reshape(classes, classes)


def class_accuracies(confusion_NxN: np.ndarray) -> np.ndarray:
    """Return each class's share of images that are classified rightly, NaN without images."""
    images_N = confusion_NxN.sum(axis=1)
    accuracies_N = np.full(len(images_N), np.nan)
    np.divide(confusion_NxN.diagonal(), images_N, out=accuracies_N, where=images_N > 0)
    return accuracies_N
