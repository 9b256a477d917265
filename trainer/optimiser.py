"""The update rule and its schedule (spec section 4)."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from model_store.mixer import parameter_name
from trainer.config import OptimiserConfig


def schedule(config: OptimiserConfig, total_steps: int) -> optax.Schedule:
    """Return the share of the peak learning rate at a step: linear warm-up, then decay.

    s(t) = min(1, t/w) · (e + (1 - e) · d(clip((t-w)/(T-w), 0, 1))) with d(x) = 1 - x (linear) or
    (1 + cos πx)/2 (cosine), and e the final share. The first step (t = 0) has rate 0.
    """
    warmup, final = config.warmup_steps, config.final_share

    def share(step: jax.typing.ArrayLike) -> jax.Array:
        rise = jnp.minimum(1.0, jnp.asarray(step) / max(warmup, 1))
        done = jnp.clip((step - warmup) / max(total_steps - warmup, 1), 0.0, 1.0)
        left = 1 - done if config.decay == "linear" else (1 + jnp.cos(jnp.pi * done)) / 2
        return rise * (final + (1 - final) * left)

    return share


def make_optimiser(config: OptimiserConfig, total_steps: int) -> optax.GradientTransformation:
    """Clip by the global norm, then the update rule, with decoupled decay on kernels alone.

    Adam follows spec section 4.2: w <- w - s(t)·lr·(adam + weight_decay·w). SGD follows 4.3: plain
    momentum, no decay. Muon owns the kernels of the mixing MLPs, Adam everything else.
    """
    share = schedule(config, total_steps)

    def rate(peak: float) -> optax.Schedule:
        return lambda step: peak * share(step)

    clip = optax.clip_by_global_norm(config.clip_norm)
    if config.name == "adam":
        adam = optax.adamw(
            rate(config.learning_rate), weight_decay=config.weight_decay, mask=_kernels
        )
        return optax.chain(clip, adam)
    if config.name == "sgd":
        sgd = optax.sgd(
            rate(config.learning_rate),
            momentum=config.momentum,
            accumulator_dtype=config.momentum_dtype,
        )
        return optax.chain(clip, sgd)
    muon = optax.contrib.muon(
        rate(config.learning_rate),
        adam_learning_rate=rate(config.adam_learning_rate),
        weight_decay=config.weight_decay,
        adam_weight_decay=0.0,
        weight_decay_mask=_kernels,
        muon_weight_dimension_numbers=_matrices_for_muon,
    )
    return optax.chain(clip, muon)


def _kernels(params: nnx.State) -> nnx.State:  # type: ignore[type-arg]
    return nnx.map_state(lambda path, _: path[-1] == "kernel", params)


def _matrices_for_muon(params: nnx.State) -> nnx.State:  # type: ignore[type-arg]
    def dimensions(path: tuple[object, ...], _: object) -> object:
        owned = "_mixing/" in (name := parameter_name(path)) and name.endswith("/kernel")
        # The last two axes: before them, an untied kernel counts the matrices that it holds.
        return optax.contrib.MuonDimensionNumbers(-2, -1) if owned else None

    return nnx.map_state(dimensions, params)
