"""A few steps of training on all devices of this process, reported as JSON."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx

from model_store.mixer import parameter_name
from tests.trainer.tiny import MODEL, draw_pictures, tiny_config
from trainer.config import ComputeConfig
from trainer.layout import Layout
from trainer.step import build_step

Sharding = Literal["replicated", "fully_sharded"]
SHARDINGS: tuple[Sharding, ...] = ("replicated", "fully_sharded")
STEPS = 12
LABELS = np.arange(16, dtype=np.int32) % 3
IMAGES = np.stack([draw_pictures(int(label), 16)[i] for i, label in enumerate(LABELS)])


def train(sharding: Sharding) -> dict[str, Any]:
    """Train with dropout, stochastic depth and accumulation; return losses and what lies where."""
    config = replace(
        tiny_config(Path("unused")),
        model=MODEL.model_copy(
            update={"width": 16, "token_mlp_width": 40, "channel_mlp_width": 24}
        ),
        batch_size=len(LABELS),
        microbatch_size=8,
        dropout=0.1,
        stochastic_depth=0.3,
        compute=ComputeConfig(sharding=sharding),
    )
    layout = Layout(config.compute)
    state, step = build_step(config, 60, layout=layout)
    losses = []
    for _ in range(STEPS):
        state, report = step(state, layout.place_rows(IMAGES), layout.place_rows(LABELS))
        losses.append(float(report.loss))
    held = {
        parameter_name(path): variable[...].addressable_shards[0].data.size / variable[...].size
        for path, variable in nnx.to_flat_state(state.params)
    }
    return {
        "losses": losses,
        "held_share": held,
        "parameter_bytes": _held_bytes(state.params),
        "state_bytes": _held_bytes((state.params, state.optimiser)),
    }


def _held_bytes(tree: Any) -> int:
    """Bytes that the first device holds."""
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))


if __name__ == "__main__":
    results = {sharding: train(sharding) for sharding in SHARDINGS}
    print(json.dumps({"devices": jax.device_count(), **results}))
