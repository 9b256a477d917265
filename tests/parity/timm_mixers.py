"""timm's MlpMixer and ours on the same weights and images.

timm's state dict, random in every tensor -> safetensors -> `read_timm` -> our network
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
import torch

from model_store.importers.imported import Gelu
from model_store.importers.timm import read_timm
from model_store.mixer import load_mixer
from model_store.variants import MixerConfig
from tests.parity import torchvision_absent

torchvision_absent.install()
import timm  # noqa: E402  (only importable once the stand-in is installed)
from timm.models.mlp_mixer import MlpMixer  # noqa: E402

Outputs = dict[str, np.ndarray]

VERSIONS = {"timm": timm.__version__, "torch": torch.__version__}


def timm_mixer(config: MixerConfig, *, seed: int) -> torch.nn.Module:
    """Return timm's Mixer of these dimensions, in evaluation mode, with random weights."""
    model = MlpMixer(
        num_classes=config.num_classes,
        img_size=config.image_size,
        patch_size=config.patch_size,
        num_blocks=config.depth,
        embed_dim=config.width,
        mlp_ratio=(config.token_mlp_width / config.width, config.channel_mlp_width / config.width),
        act_layer=partial(torch.nn.GELU, approximate="tanh"),
    )
    rng = np.random.default_rng(seed)
    weights = {k: torch.from_numpy(_random(k, v, rng)) for k, v in model.state_dict().items()}
    model.load_state_dict(weights, strict=True)
    return model.eval()


def _random(name: str, tensor: torch.Tensor, rng: np.random.Generator) -> np.ndarray:
    values = rng.standard_normal(tuple(tensor.shape))
    if tensor.ndim > 1:
        values /= np.sqrt(np.prod(tensor.shape[1:]))
    else:
        values = 0.3 * values + (1 if "norm" in name and name.endswith(".weight") else 0)
    return np.asarray(values, np.float32)


def save_timm(model: torch.nn.Module, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write timm's state dict as it is."""
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    path.write_bytes(safetensors.numpy.save(tensors, metadata))


def timm_outputs(model: torch.nn.Module, images_BxHxWx3: np.ndarray, gelu: Gelu) -> Outputs:
    """Return timm's logits and pooled features; the weights do not depend on the GELU."""
    for module in model.modules():
        if isinstance(module, torch.nn.GELU):
            module.approximate = {"tanh": "tanh", "erf": "none"}[gelu]
    with torch.inference_mode():
        features = model.forward_features(torch.from_numpy(images_BxHxWx3).permute(0, 3, 1, 2))
        pooled = model.forward_head(features, pre_logits=True)
        return {"logits": model.head(pooled).numpy(), "embedding": pooled.numpy()}


def our_outputs(path: Path, images_BxHxWx3: np.ndarray, gelu: Gelu) -> Outputs:
    """Return the logits and embedding of our network, with the weights of timm's file."""
    imported = read_timm(path, gelu=gelu)
    with jax.default_matmul_precision("highest"):
        logits, embedding = jax.jit(load_mixer(imported.config, imported.arrays))(
            jnp.asarray(images_BxHxWx3)
        )
    return {"logits": np.asarray(logits), "embedding": np.asarray(embedding)}
