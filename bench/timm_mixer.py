"""timm's Mixer in PyTorch on a GPU: compiled, bfloat16. Needs torch with CUDA, and timm."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timm.models.mlp_mixer import MlpMixer

from model_store.variants import MixerConfig


class OutOfMemory(Exception):
    """The batch does not fit."""


def timm_mixer(config: MixerConfig) -> Any:
    """Return timm's network of this architecture on the GPU, compiled for fixed batch sizes."""
    model = MlpMixer(
        num_classes=config.num_classes,
        img_size=config.image_size,
        patch_size=config.patch_size,
        num_blocks=config.depth,
        embed_dim=config.width,
        mlp_ratio=(config.token_mlp_width / config.width, config.channel_mlp_width / config.width),
        act_layer=partial(torch.nn.GELU, approximate="tanh"),
    )
    return torch.compile(model.to("cuda", torch.bfloat16).eval(), dynamic=False)


def limit_memory(share: float) -> None:
    """Leave the rest of the GPU's memory to jax, which takes as much."""
    torch.cuda.set_per_process_memory_fraction(share)


def prepare(model: Any, config: MixerConfig, batch: int, calls: int) -> Callable[[], float]:
    """Compile for this batch; return a measure of images/s over so many calls in a row.

    Raises:
        OutOfMemory: the batch does not fit.
    """
    side = config.image_size

    def run() -> float:
        began_s = time.perf_counter()
        with torch.inference_mode():
            for _ in range(calls):
                model(images)
        torch.cuda.synchronize()
        return batch * calls / (time.perf_counter() - began_s)

    try:
        images = torch.rand((batch, 3, side, side), dtype=torch.bfloat16, device="cuda") * 2 - 1
        run()
    except torch.cuda.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise OutOfMemory from error
    return run
