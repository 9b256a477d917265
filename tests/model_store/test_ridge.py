import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.ridge import (
    L2,
    L2_GRID,
    Labelled,
    TransferSet,
    best_by_rank,
    current_protocol,
    fit,
    older_protocol,
    select_shots,
    solve_dual,
    solve_primal,
)

SEEDS = st.integers(0, 2**32 - 1)


def draw_examples(count: int, *, width: int = 5, classes: int = 3, seed: int = 0) -> Labelled:
    """Return overlapping clusters with features of different scales, labels 0, 1, 2, 0, 1, …"""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(99).normal(0, 1.5, (classes, width))
    scales = 10.0 ** np.arange(width)
    embeddings = (centres[labels] + rng.standard_normal((count, width))) * scales + scales
    return Labelled(embeddings.astype(np.float32), labels)


def draw_set(seed: int = 0, *, width: int = 5, train: int = 60) -> TransferSet:
    return TransferSet(
        draw_examples(train, width=width, seed=seed),
        draw_examples(200, width=width, seed=seed + 1),
        num_classes=3,
    )


# Regression


@given(examples=st.integers(1, 12), features=st.integers(1, 12), seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_primal_and_dual_are_the_one_minimiser(examples: int, features: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((examples, features)), rng.standard_normal((examples, 4))
    for l2 in (2.0**-10, 1.0, 2.0**19):
        primal, dual = (solve(x, y).weights(l2) for solve in (solve_primal, solve_dual))
        np.testing.assert_allclose(primal, dual, rtol=0, atol=1e-8)
        # Where the loss is least its gradient is zero.
        gradient = x.T @ (x @ primal - y) + l2 * primal
        np.testing.assert_allclose(gradient, 0, rtol=0, atol=1e-8)


# Classifier


def by_hand(examples: Labelled, test_MxC: np.ndarray, l2: float) -> np.ndarray:
    """Spec section 6.1 steps 3 to 7, by a direct solve."""
    train = examples.embeddings_NxC.astype(np.float64)
    mean, deviation = train.mean(axis=0), train.std(axis=0, ddof=0) + 1e-5
    x = np.column_stack([(train - mean) / deviation, np.full(len(train), 100.0)])
    y = np.where(np.eye(3)[examples.labels_N] == 1, 1.0, -1.0)
    weights = np.linalg.solve(x.T @ x + l2 * np.eye(x.shape[1]), x.T @ y)
    return np.column_stack([(test_MxC - mean) / deviation, np.full(len(test_MxC), 100.0)]) @ weights


@pytest.mark.parametrize("count", [6, 7, 8, 30], ids=lambda count: f"{count} of 7 features")
def test_scores_are_those_done_by_hand(count: int) -> None:
    examples, test = draw_examples(count, width=6), draw_examples(9, width=6, seed=1)
    classifier = fit(examples, 3)
    for l2 in (1.0, L2):
        found = classifier.scores(test.embeddings_NxC, l2)
        wanted = by_hand(examples, test.embeddings_NxC, l2)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(classifier.scores(test.embeddings_NxC), found)  # 1024 by default


@pytest.mark.parametrize(("count", "smaller"), [(5, 5), (6, 6), (7, 6)])
def test_smaller_of_the_two_problems_is_solved(count: int, smaller: int) -> None:
    # Six features, the constant with them.
    assert len(fit(draw_examples(count, width=5), 3).ridge.eigenvalues_R) == smaller


def test_separate_clusters_are_told_apart_without_an_error() -> None:
    def clusters(seed: int) -> Labelled:
        labels = np.arange(40) % 4
        noise = np.random.default_rng(seed).normal(0, 0.1, (40, 4))
        return Labelled(5 * np.eye(4)[labels] + noise, labels)

    data = TransferSet(clusters(0), clusters(1), num_classes=4)
    for result in current_protocol({"clusters": data}, shots=(1, 5), seeds=2):
        assert result.accuracies == (1.0, 1.0)
    for result in older_protocol({"clusters": data}, shots=(1, 5)):
        assert result.accuracies == (1.0,)


def test_penalty_without_end_leaves_the_shares_of_the_classes() -> None:
    # 5, 3 and 2 examples. The features' weights vanish; the bias's score is the mean target, shrunk
    # by what the penalty takes even of it.
    examples = draw_examples(10)._replace(labels_N=np.array([0, 1, 2, 0, 1, 2, 0, 1, 0, 0]))
    test = draw_examples(50, seed=1).embeddings_NxC
    mean_targets = 2 * np.array([0.5, 0.3, 0.2]) - 1
    for l2 in (1e5, 1e9):
        unshrunk = fit(examples, 3).scores(test, l2) * (1e5 + l2) / 1e5
        np.testing.assert_allclose(unshrunk, np.tile(mean_targets, (50, 1)), atol=0.01)


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_scores_do_not_depend_on_the_scale_and_origin_of_a_feature(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale = rng.choice([-1, 1], 5) * 10.0 ** rng.uniform(0, 3, 5)
    shift = rng.normal(0, 10, 5)
    examples, test = draw_examples(12, seed=3), draw_examples(20, seed=4)
    moved = examples._replace(embeddings_NxC=examples.embeddings_NxC * scale + shift)
    np.testing.assert_allclose(
        fit(moved, 3).scores(test.embeddings_NxC * scale + shift),
        fit(examples, 3).scores(test.embeddings_NxC),
        atol=1e-3,
    )


def test_feature_that_never_varies_does_no_harm() -> None:
    examples, test = draw_examples(12), draw_examples(20, seed=1)
    constant = [
        np.column_stack([e.embeddings_NxC, np.full(len(e.labels_N), 7.0)]) for e in (examples, test)
    ]
    np.testing.assert_allclose(
        fit(examples._replace(embeddings_NxC=constant[0]), 3).scores(constant[1]),
        fit(examples, 3).scores(test.embeddings_NxC),
        atol=1e-9,
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2], "6 embeddings with labels of shape"),
        ([0, 1, 2, 3, 0, 1], "labels from 0 to 3: 0 to 2 are allowed"),
        ([0, 1, 2, -1, 0, 1], "labels from -1 to 2: 0 to 2 are allowed"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: list[int], message: str) -> None:
    examples = draw_examples(6)._replace(labels_N=np.array(labels))
    with pytest.raises(ValueError, match=message):
        fit(examples, 3)


# Selection

LABELS = np.random.default_rng(5).permutation(np.repeat([0, 1, 2], [8, 6, 11]))


def members(label: int) -> np.ndarray:
    return np.flatnonzero(label == LABELS)


@given(shots=st.integers(1, 6), seed=st.one_of(st.none(), SEEDS))
def test_selection_is_that_many_of_each_class_without_repetition(
    shots: int, seed: int | None
) -> None:
    chosen = select_shots(LABELS, 3, shots, seed=seed)
    assert LABELS[chosen].tolist() == [0] * shots + [1] * shots + [2] * shots
    assert len(set(chosen.tolist())) == 3 * shots
    np.testing.assert_array_equal(chosen, select_shots(LABELS, 3, shots, seed=seed))


@given(seed=SEEDS)
def test_fewer_shots_are_a_subset_of_more(seed: int) -> None:
    few, many = (select_shots(LABELS, 3, shots, seed=seed).reshape(3, -1) for shots in (2, 5))
    np.testing.assert_array_equal(few, many[:, :2])


def test_seeds_choose_differently_and_no_seed_the_first() -> None:
    choices = {tuple(select_shots(LABELS, 3, 4, seed=seed).tolist()) for seed in range(20)}
    assert len(choices) == 20
    first = select_shots(LABELS, 3, 4, seed=None).reshape(3, 4)
    for label in range(3):
        assert first[label].tolist() == members(label)[:4].tolist()


def test_one_generator_serves_the_classes_in_their_order() -> None:
    rng = np.random.default_rng(7)
    wanted = [rng.permutation(members(label))[:3] for label in range(3)]
    np.testing.assert_array_equal(select_shots(LABELS, 3, 3, seed=7), np.concatenate(wanted))


@pytest.mark.parametrize("shots", [0, 7])
def test_more_shots_than_the_rarest_class_has_are_refused(shots: int) -> None:
    with pytest.raises(
        ValueError, match=f"{shots} shots: 1 to 6 are possible, for class 1 has 6 training examples"
    ):
        select_shots(LABELS, 3, shots, seed=0)


# Protocols


def accuracy_by_hand(data: TransferSet, shots: int, seed: int | None, l2: float) -> float:
    chosen = select_shots(data.train.labels_N, 3, shots, seed=seed)
    examples = Labelled(data.train.embeddings_NxC[chosen], data.train.labels_N[chosen])
    answers = by_hand(examples, data.test.embeddings_NxC, l2).argmax(axis=1)
    return float((answers == data.test.labels_N).mean())


def test_current_protocol_measures_every_seed_at_one_penalty() -> None:
    sets = {"a": draw_set(0), "b": draw_set(10, width=30)}
    results = current_protocol(sets, shots=(2, 5), seeds=3)
    assert [(r.dataset, r.shots) for r in results] == [("a", 2), ("a", 5), ("b", 2), ("b", 5)]
    for result in results:
        data = sets[result.dataset]
        wanted = [accuracy_by_hand(data, result.shots, seed, 1024.0) for seed in range(3)]
        assert result.l2 == 1024.0
        assert list(result.accuracies) == pytest.approx(wanted)
        assert result.mean_accuracy == pytest.approx(np.mean(wanted))
        assert len(set(wanted)) > 1


def test_older_protocol_takes_one_penalty_for_all_data_sets() -> None:
    sets = {"a": draw_set(0, train=12), "b": draw_set(10, width=30, train=12)}
    a, b = older_protocol(sets, shots=(4,))
    assert a.l2 == b.l2
    assert a.l2 in L2_GRID
    grids = [[accuracy_by_hand(d, 4, None, l2) for l2 in L2_GRID] for d in sets.values()]
    assert a.l2 == L2_GRID[best_by_rank(np.array(grids))]
    assert a.accuracies == pytest.approx([accuracy_by_hand(sets["a"], 4, None, a.l2)])
    assert b.accuracies == pytest.approx([accuracy_by_hand(sets["b"], 4, None, a.l2)])


def test_only_the_older_protocol_looks_at_test_labels_for_its_penalty() -> None:
    data = draw_set(0, train=12)
    inverted = data._replace(test=data.test._replace(labels_N=(data.test.labels_N + 1) % 3))
    both = (data, inverted)
    assert [current_protocol({"": d}, shots=(4,), seeds=1)[0].l2 for d in both] == [L2, L2]
    older = [older_protocol({"": d}, shots=(4,))[0].l2 for d in both]
    assert older[0] != older[1]


def test_grid_of_penalties_is_the_specification_s() -> None:
    assert len(L2_GRID) == 30
    assert (L2_GRID[0], L2_GRID[-1]) == (2**-10, 2**19)


def test_best_rank_is_not_the_best_mean() -> None:
    # Column 0 has the highest mean, column 1 the best ranks: 2, 2 and 1 of 0 to 2.
    accuracies = np.array([[0.1, 0.3, 0.2], [0.5, 0.6, 0.4], [0.99, 0.2, 0.1]])
    assert accuracies.mean(axis=0).argmax() == 0
    assert best_by_rank(accuracies) == 1
