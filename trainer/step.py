"""The training step: one pure, jit-compiled function from state and batch to the next state."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from model_store.mixer import Mixer
from model_store.preprocess import normalise
from trainer.augment import mixup
from trainer.config import TrainConfig
from trainer.optimiser import make_optimiser

Params = Any  # nnx.State of the parameters: a pytree of float32 arrays


Gradients = tuple[Params, jax.Array, jax.Array]  # gradient, loss, accuracy


class TrainState(NamedTuple):
    """All that the arithmetic of a run depends on, beside the data and the configuration."""

    step: jax.Array
    params: Params
    optimiser: optax.OptState


class StepReport(NamedTuple):
    """What one step measured on its batch, as float32 scalars."""

    loss: jax.Array
    accuracy: jax.Array
    gradient_norm: jax.Array


Step = Callable[[TrainState, jax.Array, jax.Array], tuple[TrainState, StepReport]]


def build_step(config: TrainConfig, total_steps: int) -> tuple[TrainState, Step]:
    """Return the initial state of a run and its compiled step.

    The step takes (state, uint8 [B, S, S, 3], int32 [B]) and gives the old state's buffers to the
    new one. Its randomness comes from the seed and the step number, so there is none to save.
    """
    model = Mixer(
        config.model,
        rngs=nnx.Rngs(config.seed),
        dropout=config.dropout,
        stochastic_depth=config.stochastic_depth,
    )
    graph, params = nnx.split(model, nnx.Param)
    optimiser = make_optimiser(config.optimiser, total_steps)
    slices = _slices(config)
    key = jax.random.key(config.seed)

    def loss_and_hits(
        params: Params, images: jax.Array, targets_BxN: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        logits_BxN, _ = nnx.merge(graph, params)(images, key)
        loss = optax.softmax_cross_entropy(logits_BxN, targets_BxN).mean()
        return loss, (logits_BxN.argmax(-1) == targets_BxN.argmax(-1)).mean()

    def gradients(
        params: Params, images: jax.Array, targets: jax.Array, key: jax.Array
    ) -> Gradients:
        (loss, hits), gradient = jax.value_and_grad(loss_and_hits, has_aux=True)(
            params, images, targets, key
        )
        return gradient, loss, hits

    def step(
        state: TrainState, images_BxHxWx3: jax.Array, labels_B: jax.Array
    ) -> tuple[TrainState, StepReport]:
        key_mixup, key_model = jax.random.split(jax.random.fold_in(key, state.step))
        targets_BxN = jax.nn.one_hot(labels_B, config.model.num_classes)
        images = normalise(images_BxHxWx3, config.preprocessing)
        images, targets_BxN = jax.lax.cond(
            state.step < config.closing_step(total_steps // config.epochs),
            lambda: mixup(images, targets_BxN, config.augment.mixup, key_mixup),
            lambda: (images, targets_BxN),
        )
        gradient, loss, accuracy = _accumulate(
            partial(gradients, state.params),
            images,
            targets_BxN,
            key_model,
            slices=slices,
        )
        updates, optimiser_state = optimiser.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, updates)
        report = StepReport(loss, accuracy, optax.tree.norm(gradient))
        return TrainState(state.step + 1, params, optimiser_state), report

    state = TrainState(jnp.zeros((), jnp.int32), params, optimiser.init(params))
    return state, jax.jit(step, donate_argnums=0)


def _slices(config: TrainConfig) -> int:
    """How many forward and backward passes make one batch."""
    slices, rest = divmod(config.batch_size, config.microbatch_size or config.batch_size)
    if rest or slices < 1:
        msg = (
            f"batch_size {config.batch_size} is no multiple of "
            f"microbatch_size {config.microbatch_size}"
        )
        raise ValueError(msg)
    return slices


def _accumulate(
    gradients: Callable[[jax.Array, jax.Array, jax.Array], Gradients],
    images: jax.Array,
    targets: jax.Array,
    key: jax.Array,
    *,
    slices: int,
) -> Gradients:
    """Average `gradients` over equal slices of the batch, one after the other."""
    if slices == 1:
        return gradients(images, targets, key)

    def one(index: jax.Array, images: jax.Array, targets: jax.Array) -> Gradients:
        return gradients(images, targets, jax.random.fold_in(key, index))

    def add(
        total: Gradients, part: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[Gradients, None]:
        return jax.tree.map(jnp.add, total, one(*part)), None

    parts = (
        jnp.arange(slices),
        images.reshape(slices, -1, *images.shape[1:]),
        targets.reshape(slices, -1, *targets.shape[1:]),
    )
    first = one(*jax.tree.map(lambda x: x[0], parts))
    total, _ = jax.lax.scan(add, first, jax.tree.map(lambda x: x[1:], parts))
    mean: Gradients = jax.tree.map(lambda x: x / slices, total)
    return mean
