"""The training step: one pure, jit-compiled function from state and batch to the next state."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from model_store.layers import Execution
from model_store.mixer import Mixer, load_mixer
from model_store.preprocess import normalise
from trainer.augment import mixup
from trainer.config import TrainConfig
from trainer.layout import Layout
from trainer.losses import loss_function
from trainer.networks.network import Network, NetworkBuilder
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


def build_step(
    config: TrainConfig,
    total_steps: int,
    *,
    layout: Layout | None = None,
    start: Mapping[str, np.ndarray] | None = None,
    network: NetworkBuilder | None = None,
) -> tuple[TrainState, Step]:
    """Return the initial state of a run and its compiled step.

    The step takes (state, uint8 [B, S, S, 3], int32 [B]) and gives the old state's buffers to the
    new one. Its randomness comes from the seed and the step number, so there is none to save.

    Args:
        config: the run's settings.
        total_steps: the length of the run, which its schedule needs.
        layout: the devices (default: all, as configured).
        start: parameters of the Mixer by name (default: fresh ones).
        network: what to train (default: the Mixer of `config.model`), from `trainer.networks`.
            Of the model's settings it shares the image size and the number of classes.

    Raises:
        ValueError: the batch is no multiple of its parts, `network` has another number of classes,
            or `start` is given for it.
    """
    if start is not None and network is not None:
        msg = "start has the parameters of a Mixer: a run of another network begins with fresh ones"
        raise ValueError(msg)
    build = network or partial(_mixer, config)
    layout = layout or Layout(config.compute)
    slices = _slices(config)
    optimiser = make_optimiser(config.optimiser, total_steps)
    gradients = partial(_gradients, jax.value_and_grad(_objective(config, build), has_aux=True))
    state = _initial_state(config, build, optimiser, layout, start)
    key = jax.random.key(config.seed)

    def step(
        state: TrainState, images_BxHxWx3: jax.Array, labels_B: jax.Array
    ) -> tuple[TrainState, StepReport]:
        key_mixup, key_model = jax.random.split(jax.random.fold_in(key, state.step))
        targets_BxN = jax.nn.one_hot(labels_B, config.model.num_classes)
        images = normalise(images_BxHxWx3, config.preprocessing)
        images, targets_BxN = jax.lax.cond(
            state.step < config.closing_step(total_steps),
            lambda: mixup(images, targets_BxN, config.augment.mixup, key_mixup),
            lambda: (images, targets_BxN),
        )
        gradient, loss, accuracy = _accumulate(
            partial(gradients, state.params), images, targets_BxN, key_model, slices=slices
        )
        updates, optimiser_state = optimiser.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, updates)
        report = StepReport(loss, accuracy, optax.tree.norm(gradient))
        return TrainState(state.step + 1, params, optimiser_state), report

    shardings = layout.of(state)
    compiled = jax.jit(
        step,
        donate_argnums=0,
        in_shardings=(shardings, layout.rows, layout.rows),
        out_shardings=(shardings, layout.everywhere),
    )
    return state, compiled


def _execution(config: TrainConfig) -> Execution:
    return Execution(
        dropout=config.dropout,
        stochastic_depth=config.stochastic_depth,
        stochastic_depth_rule=config.stochastic_depth_rule,
        dtype=jnp.dtype(config.compute.dtype),
        rematerialise=config.compute.rematerialise,
    )


def _mixer(config: TrainConfig, execution: Execution, rngs: nnx.Rngs) -> Mixer:
    return Mixer(config.model, execution, rngs=rngs)


def _initial_state(
    config: TrainConfig,
    build: NetworkBuilder,
    optimiser: optax.GradientTransformation,
    layout: Layout,
    start: Mapping[str, np.ndarray] | None,
) -> TrainState:
    """Make the state where it will lie, since one device may not hold all of it."""

    def fresh() -> Params:
        model = build(Execution(), nnx.Rngs(config.seed))
        if model.head is not None and model.head.bias is not None:
            model.head.bias[...] += config.head_bias
        return nnx.state(model, nnx.Param)

    def begin(params: Params) -> TrainState:
        return TrainState(jnp.zeros((), jnp.int32), params, optimiser.init(params))

    if start is not None:
        params = layout.place(nnx.state(load_mixer(config.model, start), nnx.Param))
    else:
        params = jax.jit(fresh, out_shardings=layout.of(jax.eval_shape(fresh)))()
    state: TrainState = jax.jit(begin, out_shardings=layout.of(jax.eval_shape(begin, params)))(
        params
    )
    return state


Objective = Callable[
    [Params, jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]
]  # parameters, images, targets, key -> loss, accuracy


def _objective(config: TrainConfig, build: NetworkBuilder) -> Objective:
    execution, loss = _execution(config), loss_function(config.loss)
    model = nnx.eval_shape(lambda: build(execution, nnx.Rngs(0)))
    _check_classes(model, config.model.num_classes)
    graph, _ = nnx.split(model, nnx.Param)

    def objective(
        params: Params, images: jax.Array, targets_BxN: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        logits_BxN, _ = nnx.merge(graph, params)(images, key)
        hits_B = logits_BxN.argmax(-1) == targets_BxN.argmax(-1)
        return loss(logits_BxN, targets_BxN), hits_B.mean()

    return objective


def _check_classes(model: Network, wanted: int) -> None:
    found = 0 if model.head is None else model.head.out_features
    if found != wanted:
        msg = f"the network tells {found} classes apart, the run's configuration has {wanted}"
        raise ValueError(msg)


def _gradients(
    differentiated: Callable[..., tuple[tuple[jax.Array, jax.Array], Params]],
    *arguments: Any,
) -> Gradients:
    (loss, accuracy), gradient = differentiated(*arguments)
    return gradient, loss, accuracy


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

    def split(rows: jax.Array) -> jax.Array:
        # Every slice takes rows from all devices, so that none moves between them.
        return rows.reshape(-1, slices, *rows.shape[1:]).swapaxes(0, 1)

    parts = (jnp.arange(slices), split(images), split(targets))
    first = one(*jax.tree.map(lambda x: x[0], parts))
    total, _ = jax.lax.scan(add, first, jax.tree.map(lambda x: x[1:], parts))
    mean: Gradients = jax.tree.map(lambda x: x / slices, total)
    return mean
