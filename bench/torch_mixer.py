"""The Mixer in PyTorch, with our parameters: what OpenVINO makes of it is compute's yardstick."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from model_store.variants import MixerConfig

Parameters = Mapping[str, np.ndarray]


class Mlp(nn.Module):
    """Two dense layers over the last axis, with a GELU between."""

    def __init__(self, width: int, hidden: int, gelu: str) -> None:
        super().__init__()
        approximate = {"tanh": "tanh", "erf": "none"}[gelu]
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(approximate=approximate), nn.Linear(hidden, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., width] -> [..., width]."""
        return self.layers(x)


class Block(nn.Module):
    """Tokens are mixed, then channels, each beside a residual."""

    def __init__(self, config: MixerConfig) -> None:
        super().__init__()
        width, epsilon = config.width, config.layer_norm_epsilon
        self.token_norm = nn.LayerNorm(width, eps=epsilon)
        self.token_mlp = Mlp(config.tokens, config.token_mlp_width, config.gelu)
        self.channel_norm = nn.LayerNorm(width, eps=epsilon)
        self.channel_mlp = Mlp(width, config.channel_mlp_width, config.gelu)

    def forward(self, x_BxSxC: torch.Tensor) -> torch.Tensor:
        """[B, S, C] -> [B, S, C]."""
        y_BxCxS = self.token_norm(x_BxSxC).transpose(1, 2)
        x_BxSxC = x_BxSxC + self.token_mlp(y_BxCxS).transpose(1, 2)
        return x_BxSxC + self.channel_mlp(self.channel_norm(x_BxSxC))


class TorchMixer(nn.Module):
    """float32 [B, 3, H, W] in the network's input range -> logits [B, N], embedding [B, C]."""

    def __init__(self, config: MixerConfig) -> None:
        super().__init__()
        patch, width = config.patch_size, config.width
        self.stem = nn.Conv2d(3, width, patch, patch)
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_epsilon)
        self.head = nn.Linear(width, config.num_classes)

    def forward(self, x_Bx3xHxW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute one batch."""
        x_BxSxC = self.stem(x_Bx3xHxW).flatten(2).transpose(1, 2)
        embedding_BxC = self.norm(self.blocks(x_BxSxC)).mean(1)
        return self.head(embedding_BxC), embedding_BxC


def torch_mixer(config: MixerConfig, arrays: Parameters) -> TorchMixer:
    """Return the network with these parameters, for evaluation."""
    model = TorchMixer(config)
    tensors = {ours: torch.from_numpy(array) for ours, array in _torch_arrays(config, arrays)}
    model.load_state_dict(tensors, strict=True)
    model.eval()
    return model


def _torch_arrays(config: MixerConfig, arrays: Parameters) -> list[tuple[str, np.ndarray]]:
    """Return every parameter under its name in `TorchMixer`, laid out as PyTorch does."""

    def dense(theirs: str, ours: str) -> list[tuple[str, np.ndarray]]:
        kernel = np.ascontiguousarray(arrays[f"{ours}/kernel"].T)
        return [(f"{theirs}.weight", kernel), (f"{theirs}.bias", arrays[f"{ours}/bias"])]

    def norm(theirs: str, ours: str) -> list[tuple[str, np.ndarray]]:
        parts = (("weight", "scale"), ("bias", "bias"))
        return [(f"{theirs}.{to}", arrays[f"{ours}/{part}"]) for to, part in parts]

    stem = np.ascontiguousarray(arrays["stem/kernel"].transpose(3, 2, 0, 1))
    found = [("stem.weight", stem), ("stem.bias", arrays["stem/bias"])]
    for i in range(config.depth):
        theirs, ours = f"blocks.{i}", f"MixerBlock_{i}"
        found += norm(f"{theirs}.token_norm", f"{ours}/LayerNorm_0")
        found += norm(f"{theirs}.channel_norm", f"{ours}/LayerNorm_1")
        for mlp in ("token", "channel"):
            for place, layer in ((0, "Dense_0"), (2, "Dense_1")):
                found += dense(f"{theirs}.{mlp}_mlp.layers.{place}", f"{ours}/{mlp}_mixing/{layer}")
    return found + norm("norm", "pre_head_layer_norm") + dense("head", "head")
