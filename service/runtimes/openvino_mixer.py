"""The Mixer once more, in OpenVINO's own operations and from the same parameters.

OpenVINO's JAX front end fixes the batch size; this graph leaves it open, so that no batch is
padded. It is the network of `model_store.mixer` with two liberties that change rounding alone: the
input range is folded into the stem, which therefore takes the bytes as they are, and tokens are
mixed by a product from the left, so that nothing is transposed. That it computes the same is a
test, and at every load the golden check. What a reduced precision does otherwise stands at its
class.
"""

from collections.abc import Mapping

import numpy as np
import openvino
from openvino import Node, Type, opset14

from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig
from service.runtimes.program import Precision

Parameters = Mapping[str, np.ndarray]


def build_mixer(
    config: MixerConfig,
    preprocessing: Preprocessing,
    arrays: Parameters,
    precision: Precision = "float32",
) -> openvino.Model:
    """Return the graph uint8 [B, H, W, 3] -> logits float32 [B, N], embedding float32 [B, C].

    It is meant to be compiled with the inference precision of `precision`.
    """
    floats = {name: np.asarray(a, np.float32) for name, a in arrays.items()}
    graph = _GRAPHS[precision](config, floats)
    pixels = opset14.parameter([-1, config.image_size, config.image_size, 3], np.uint8)
    x_BxSxC = graph.stem(pixels, preprocessing.input_range)
    for i in range(config.depth):
        block = f"MixerBlock_{i}"
        y_BxSxC = graph.layer_norm(x_BxSxC, f"{block}/LayerNorm_0")
        x_BxSxC = x_BxSxC + graph.mix_tokens(y_BxSxC, f"{block}/token_mixing")
        y_BxSxC = graph.layer_norm(x_BxSxC, f"{block}/LayerNorm_1")
        x_BxSxC = x_BxSxC + graph.mix_channels(y_BxSxC, f"{block}/channel_mixing")
    tokens_BxSxC = graph.layer_norm(x_BxSxC, "pre_head_layer_norm")
    embedding_BxC = opset14.reduce_mean(tokens_BxSxC, _integers(1))
    return openvino.Model([graph.head(embedding_BxC), embedding_BxC], [pixels], "mixer")


class _Graph:
    """The parts of one network; each method adds nodes and returns the last."""

    def __init__(self, config: MixerConfig, arrays: Parameters) -> None:
        self._config, self._arrays = config, arrays

    def stem(self, pixels_BxHxWx3: Node, input_range: tuple[float, float]) -> Node:
        """Cut into patches and project each: the stem's convolution as one product."""
        grid, patch, width = self._config.grid, self._config.patch_size, self._config.width
        floats = opset14.convert(pixels_BxHxWx3, np.float32)
        rows = opset14.reshape(floats, _integers(-1, grid, patch, grid, patch * 3), False)
        patches = opset14.transpose(rows, _integers(0, 1, 3, 2, 4))
        patches_BxSxK = opset14.reshape(
            patches, _integers(-1, self._config.tokens, patch * patch * 3), False
        )
        low, high = input_range
        kernel_KxC = self._arrays["stem/kernel"].reshape(-1, width).astype(np.float64)
        bias_C = self._arrays["stem/bias"] + low * kernel_KxC.sum(axis=0)
        return _dense(patches_BxSxK, _floats(kernel_KxC * ((high - low) / 255)), bias_C)

    def layer_norm(self, x_BxSxC: Node, name: str) -> Node:
        """Give every token mean 0 and variance 1, then scale and shift each channel."""
        epsilon = self._config.layer_norm_epsilon
        normed_BxSxC = opset14.mvn(x_BxSxC, _integers(-1), True, epsilon, "inside_sqrt")
        scale, bias = (_floats(self._arrays[f"{name}/{part}"]) for part in ("scale", "bias"))
        return normed_BxSxC * scale + bias

    def mix_tokens(self, y_BxSxC: Node, name: str) -> Node:
        """Apply the token MLP to every channel: kernels [out, in] from the left."""
        for layer in ("Dense_0", "Dense_1"):
            kernel_TxS = self._arrays[f"{name}/{layer}/kernel"].T
            bias_Tx1 = self._arrays[f"{name}/{layer}/bias"][:, None]
            y_BxSxC = opset14.matmul(_floats(kernel_TxS[None]), y_BxSxC, False, False)
            y_BxSxC = y_BxSxC + _floats(bias_Tx1)
            if layer == "Dense_0":
                y_BxSxC = self._gelu(y_BxSxC)
        return y_BxSxC

    def mix_channels(self, y_BxSxC: Node, name: str) -> Node:
        """Apply the channel MLP to every token."""
        hidden = self._gelu(self._named_dense(y_BxSxC, f"{name}/Dense_0"))
        return self._named_dense(hidden, f"{name}/Dense_1")

    def head(self, embedding_BxC: Node) -> Node:
        """Project onto the classes; without a head, onto none."""
        if not self._config.num_classes:
            return opset14.gather(embedding_BxC, _integers(), _integers(1))
        kernel_CxN = _floats(self._arrays["head/kernel"])
        return _dense(embedding_BxC, kernel_CxN, self._arrays["head/bias"])

    def _named_dense(self, x: Node, name: str) -> Node:
        kernel_KxN, bias_N = (self._arrays[f"{name}/{part}"] for part in ("kernel", "bias"))
        return _dense(x, self._kernel(kernel_KxN), bias_N)

    def _kernel(self, kernel_KxN: np.ndarray) -> Node:
        return _lent(kernel_KxN)

    def _gelu(self, x: Node) -> Node:
        return opset14.gelu(x, self._config.gelu)


class _Bfloat16Graph(_Graph):
    """For AMX, beside whose products everything else is slow.

    OpenVINO would leave a product with a constant from the left in float32, and not fuse into it
    what follows. So tokens are transposed before the first product
    of their mixing, which takes bias and GELU in; the second one puts them back from the left.
    """

    def mix_tokens(self, y_BxSxC: Node, name: str) -> Node:
        """Apply the token MLP to every channel."""
        y_BxCxS = opset14.transpose(y_BxSxC, _integers(0, 2, 1))
        hidden_BxCxT = self._gelu(self._named_dense(y_BxCxS, f"{name}/Dense_0"))
        kernel_TxS, bias_S = (self._arrays[f"{name}/Dense_1/{part}"] for part in ("kernel", "bias"))
        kernel_1xSxT = opset14.constant(np.ascontiguousarray(kernel_TxS.T)[None], Type.bf16)
        mixed_BxSxC = opset14.matmul(
            kernel_1xSxT, opset14.convert(hidden_BxCxT, Type.bf16), False, True
        )
        return opset14.convert(mixed_BxSxC, np.float32) + _floats(bias_S[:, None])

    def _gelu(self, x: Node) -> Node:
        """Take erf's for tanh's too, which costs nearly twice as much.

        They differ by 0.0005 at most, where values near 1 are rounded by up to 0.002. With trained
        weights the logits deviate no more by it (docs/performance.md).
        """
        return opset14.gelu(x, "erf")


class _Int8Graph(_Graph):
    """The kernels of channel mixing, four fifths of all products, are rounded to int8."""

    def _kernel(self, kernel_KxN: np.ndarray) -> Node:
        return _rounded(kernel_KxN)


_GRAPHS: Mapping[Precision, type[_Graph]] = {
    "float32": _Graph,
    "bfloat16": _Bfloat16Graph,
    "int8": _Int8Graph,
}


def _dense(x: Node, kernel: Node, bias: np.ndarray) -> Node:
    return opset14.matmul(x, kernel, False, False) + _floats(bias)


def _rounded(kernel_KxN: np.ndarray) -> Node:
    """Round each output's weights to -127..127 steps; OpenVINO rounds what they meet by itself."""
    step_N = np.abs(kernel_KxN).max(axis=0) / 127
    step_N[step_N == 0] = 1  # nothing but zeros
    steps_KxN = np.rint(kernel_KxN / step_N).astype(np.int8)
    integers = opset14.constant(steps_KxN, shared_memory=True)
    return opset14.convert(integers, np.float32) * _floats(step_N)


def _lent(kernel_KxN: np.ndarray) -> Node:
    """Share the caller's memory, which the node keeps: no second copy of nearly all weights."""
    return opset14.constant(np.ascontiguousarray(kernel_KxN, np.float32), shared_memory=True)


def _floats(values: np.ndarray) -> Node:
    """Copy: one small view that the node kept would keep all that was read of the file."""
    return opset14.constant(np.array(values, np.float32, order="C"), shared_memory=True)


def _integers(*values: int) -> Node:
    return opset14.constant(np.array(values, np.int64))
