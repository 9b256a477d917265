"""Few-shot evaluation: linear l2-regularised regression in closed form (spec section 6).

The embeddings of a few labelled images -> standardise -> a constant feature for the bias -> ridge
regression to targets of -1 and +1 -> the class with the highest score. Two protocols measure it:
`current_protocol`, and `older_protocol`, which was the current one when the paper was written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

L2 = 1024.0
L2_GRID = tuple(2.0**i for i in range(-10, 20))
# So large that the penalty on the bias's weight does not matter.
BIAS_FEATURE = 100.0
# Keeps features that never vary finite.
DEVIATION_FLOOR = 1e-5


class Labelled(NamedTuple):
    """Embeddings [N, C] and their class numbers int [N]."""

    embeddings_NxC: np.ndarray
    labels_N: np.ndarray


class TransferSet(NamedTuple):
    """The embedded training and test split of a data set."""

    train: Labelled
    test: Labelled
    num_classes: int


@dataclass(frozen=True)
class FewShotResult:
    """Test accuracies in [0, 1] after training on `shots` images of each class.

    One accuracy for each seed; a single one where the images are the first in the data's order.
    """

    dataset: str
    shots: int
    l2: float
    accuracies: tuple[float, ...]

    @property
    def mean_accuracy(self) -> float:
        """The mean over the seeds."""
        return sum(self.accuracies) / len(self.accuracies)


class Ridge(NamedTuple):
    """The minimisers W of ‖X·W - Y‖² + l2·‖W‖² for every l2 > 0, in float64.

    W = left_FxR · diag(1 / (eigenvalues_R + l2)) · right_RxK
    """

    left_FxR: np.ndarray
    eigenvalues_R: np.ndarray
    right_RxK: np.ndarray

    def weights(self, l2: float) -> np.ndarray:
        """Return W [F, K] for one strength of the penalty."""
        shrunk_RxK = self.right_RxK / (self.eigenvalues_R + l2)[:, None]
        return np.asarray(self.left_FxR @ shrunk_RxK)


def solve_primal(x_NxF: np.ndarray, y_NxK: np.ndarray) -> Ridge:
    """Decompose XᵀX: the smaller problem when there are at least as many examples as features."""
    eigenvalues_F, vectors_FxF = np.linalg.eigh(x_NxF.T @ x_NxF)
    return Ridge(vectors_FxF, eigenvalues_F, vectors_FxF.T @ (x_NxF.T @ y_NxK))


def solve_dual(x_NxF: np.ndarray, y_NxK: np.ndarray) -> Ridge:
    """Decompose XXᵀ: the smaller problem when there are fewer examples than features."""
    eigenvalues_N, vectors_NxN = np.linalg.eigh(x_NxF @ x_NxF.T)
    return Ridge(x_NxF.T @ vectors_NxN, eigenvalues_N, vectors_NxN.T @ y_NxK)


@dataclass(frozen=True)
class RidgeClassifier:
    """A linear classifier of embeddings, for any strength of the penalty."""

    mean_C: np.ndarray
    deviation_C: np.ndarray
    ridge: Ridge

    def scores(self, embeddings_MxC: np.ndarray, l2: float = L2) -> np.ndarray:
        """Return the scores [M, K]: near +1 for a clear image's class, and -1 for all others."""
        return np.asarray(self._features(embeddings_MxC) @ self.ridge.weights(l2))

    def accuracies(self, test: Labelled, l2s: Sequence[float]) -> np.ndarray:
        """Return the share of right answers [L] for each strength of the penalty."""
        x_MxF = self._features(test.embeddings_NxC)
        answers = [(x_MxF @ self.ridge.weights(l2)).argmax(axis=1) for l2 in l2s]
        return np.array([(answers_M == test.labels_N).mean() for answers_M in answers])

    def _features(self, embeddings_MxC: np.ndarray) -> np.ndarray:
        return _features(embeddings_MxC, self.mean_C, self.deviation_C)


def fit(examples: Labelled, num_classes: int) -> RidgeClassifier:
    """Fit a classifier to labelled embeddings, whose statistics standardise all others.

    Raises:
        ValueError: no examples, or labels that are not one for each, in 0 to `num_classes` - 1.
    """
    embeddings_NxC, labels_N = examples
    _check_labels(examples, num_classes)
    mean_C = embeddings_NxC.mean(axis=0, dtype=np.float64)
    deviation_C = embeddings_NxC.std(axis=0, dtype=np.float64) + DEVIATION_FLOOR
    x_NxF = _features(embeddings_NxC, mean_C, deviation_C)
    y_NxK = 2.0 * (labels_N[:, None] == np.arange(num_classes)) - 1.0
    solve = solve_primal if x_NxF.shape[0] >= x_NxF.shape[1] else solve_dual
    return RidgeClassifier(mean_C, deviation_C, solve(x_NxF, y_NxK))


def select_shots(
    labels_N: np.ndarray, num_classes: int, shots: int, *, seed: int | None
) -> np.ndarray:
    """Return the indices of `shots` examples of each class, class after class.

    They are drawn with the seed, or the first in the data's order without one. Fewer shots are a
    subset of more.

    Raises:
        ValueError: a class has fewer examples than `shots`, or `shots` is below 1.
    """
    counts_K = np.bincount(labels_N, minlength=num_classes)
    if not 1 <= shots <= counts_K.min():
        msg = (
            f"{shots} shots: 1 to {counts_K.min()} are possible, "
            f"for class {counts_K.argmin()} has {counts_K.min()} training examples"
        )
        raise ValueError(msg)
    rng = np.random.default_rng(seed)
    chosen = []
    for label in range(num_classes):
        indices = np.flatnonzero(labels_N == label)
        ordered = indices if seed is None else rng.permutation(indices)
        chosen.append(ordered[:shots])
    return np.concatenate(chosen)


def current_protocol(
    datasets: Mapping[str, TransferSet], *, shots: Sequence[int], seeds: int
) -> list[FewShotResult]:
    """Measure with the penalty fixed at 1024 and examples drawn by the seeds 0, 1, … (spec 6.1).

    Raises:
        ValueError: a class has fewer examples than `shots`.
    """
    return [
        FewShotResult(
            name, n, L2, tuple(float(_accuracies(data, n, seed, [L2])[0]) for seed in range(seeds))
        )
        for name, data in datasets.items()
        for n in shots
    ]


def older_protocol(
    datasets: Mapping[str, TransferSet], *, shots: Sequence[int]
) -> list[FewShotResult]:
    """Measure on the first examples, with the penalty that is best on the test sets (spec 6.2).

    For each number of shots one penalty of `L2_GRID` serves all data sets: see `best_by_rank`.

    Raises:
        ValueError: a class has fewer examples than `shots`.
    """
    results = []
    for n in shots:
        accuracies_DxL = np.stack([_accuracies(d, n, None, L2_GRID) for d in datasets.values()])
        best = best_by_rank(accuracies_DxL)
        results += [
            FewShotResult(name, n, L2_GRID[best], (float(accuracies_L[best]),))
            for name, accuracies_L in zip(datasets, accuracies_DxL, strict=True)
        ]
    return results


def best_by_rank(accuracies_DxL: np.ndarray) -> int:
    """Return the column with the best rank on average over the rows.

    In a row the later one of equals ranks higher; of equal averages the first is taken.
    """
    ranks_DxL = accuracies_DxL.argsort(axis=1, kind="stable").argsort(axis=1)
    return int(ranks_DxL.mean(axis=0).argmax())


def _accuracies(
    data: TransferSet, shots: int, seed: int | None, l2s: Sequence[float]
) -> np.ndarray:
    chosen = select_shots(data.train.labels_N, data.num_classes, shots, seed=seed)
    examples = Labelled(data.train.embeddings_NxC[chosen], data.train.labels_N[chosen])
    return fit(examples, data.num_classes).accuracies(data.test, l2s)


def _features(
    embeddings_NxC: np.ndarray, mean_C: np.ndarray, deviation_C: np.ndarray
) -> np.ndarray:
    """Standardise, and append the constant: [N, C] -> float64 [N, C + 1]."""
    x_NxC = (embeddings_NxC - mean_C) / deviation_C
    return np.pad(x_NxC, ((0, 0), (0, 1)), constant_values=((0, 0), (0, BIAS_FEATURE)))


def _check_labels(examples: Labelled, num_classes: int) -> None:
    embeddings_NxC, labels_N = examples
    if labels_N.shape != embeddings_NxC.shape[:1] or not len(labels_N):
        msg = f"{len(embeddings_NxC)} embeddings with labels of shape {labels_N.shape}"
        raise ValueError(msg)
    if labels_N.min() < 0 or labels_N.max() >= num_classes:
        msg = (
            f"labels from {labels_N.min()} to {labels_N.max()}: 0 to {num_classes - 1} are allowed"
        )
        raise ValueError(msg)
