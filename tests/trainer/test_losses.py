import math

import jax
import jax.numpy as jnp
import pytest

from trainer.losses import loss_function

LOGITS_2x3 = jnp.asarray([[0.5, -1.0, 2.0], [0.0, 3.0, -0.5]])
MIXED_2x3 = jnp.asarray([[0.7, 0.0, 0.3], [0.0, 1.0, 0.0]])


def test_softmax_is_the_mean_negative_log_likelihood() -> None:
    log_shares = jax.nn.log_softmax(LOGITS_2x3)
    expected = -(0.7 * log_shares[0, 0] + 0.3 * log_shares[0, 2] + log_shares[1, 1]) / 2
    assert loss_function("softmax")(LOGITS_2x3, MIXED_2x3) == pytest.approx(expected)


def test_sigmoid_asks_each_class_and_sums() -> None:
    def question(logit: float, target: float) -> float:
        p = 1 / (1 + math.exp(-logit))
        return -(target * math.log(p) + (1 - target) * math.log(1 - p))

    pairs = zip(LOGITS_2x3.ravel().tolist(), MIXED_2x3.ravel().tolist(), strict=True)
    expected = sum(question(*pair) for pair in pairs) / 2
    assert loss_function("sigmoid")(LOGITS_2x3, MIXED_2x3) == pytest.approx(expected, rel=1e-5)
