"""The forward pass once more, in numpy and float64, written from spec section 1.1 alone."""

import math
from collections.abc import Mapping

import numpy as np

Arrays = Mapping[str, np.ndarray]


def tanh_gelu(x: np.ndarray) -> np.ndarray:
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return np.asarray(0.5 * x * (1 + np.tanh(inner)))


def erf_gelu(x: np.ndarray) -> np.ndarray:
    erf = np.vectorize(math.erf, otypes=[np.float64])
    return np.asarray(0.5 * x * (1 + erf(x / math.sqrt(2))))


def layer_norm(x: np.ndarray, arrays: Arrays, name: str, epsilon: float = 1e-6) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    normed = centred / np.sqrt(variance + epsilon)
    return np.asarray(normed * arrays[f"{name}/scale"] + arrays[f"{name}/bias"])


def dense(x: np.ndarray, arrays: Arrays, name: str) -> np.ndarray:
    return np.asarray(x @ arrays[f"{name}/kernel"] + arrays[f"{name}/bias"])


def forward(images: np.ndarray, arrays: Arrays, *, gelu: str) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and embedding of images [B, H, W, 3], for whatever Mixer the arrays are."""
    embedding = normalised_tokens(images, arrays, gelu=gelu).mean(axis=1)
    return dense(embedding, arrays, "head"), embedding


def normalised_tokens(images: np.ndarray, arrays: Arrays, *, gelu: str) -> np.ndarray:
    """Return the tokens [B, S, C] after the last LayerNorm, of which the embedding is the mean."""
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    activation = {"tanh": tanh_gelu, "erf": erf_gelu}[gelu]
    x = tokens(images.astype(np.float64), arrays)
    block = 0
    while f"MixerBlock_{block}/LayerNorm_0/scale" in arrays:
        name = f"MixerBlock_{block}"
        y = layer_norm(x, arrays, f"{name}/LayerNorm_0").transpose(0, 2, 1)
        y = activation(dense(y, arrays, f"{name}/token_mixing/Dense_0"))
        x = x + dense(y, arrays, f"{name}/token_mixing/Dense_1").transpose(0, 2, 1)
        y = layer_norm(x, arrays, f"{name}/LayerNorm_1")
        y = activation(dense(y, arrays, f"{name}/channel_mixing/Dense_0"))
        x = x + dense(y, arrays, f"{name}/channel_mixing/Dense_1")
        block += 1
    return layer_norm(x, arrays, "pre_head_layer_norm")


def tokens(images: np.ndarray, arrays: Arrays) -> np.ndarray:
    """Return the stem's tokens [B, S, C], one patch after the other, row by row."""
    kernel = arrays["stem/kernel"]
    patch = kernel.shape[0]
    grid = range(0, images.shape[1], patch)
    patches = [images[:, y : y + patch, x : x + patch] for y in grid for x in grid]
    flat = np.stack([p.reshape(len(images), -1) for p in patches], axis=1)
    return np.asarray(flat @ kernel.reshape(-1, kernel.shape[-1]) + arrays["stem/bias"])
