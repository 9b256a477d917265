"""Our OpenVINO graph against OpenVINO's conversion of the same network in PyTorch.

Same weights, same options, same process, call by call in turn; ours in int8 against theirs in
float32. Needs torch: `make bench` has an environment with it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, get_args

import numpy as np

from bench.job import Job
from bench.networks import architecture, random_weights
from bench.repetition import interleave, seconds_of
from bench.rows import Row
from model_store.golden import deviation
from model_store.preprocess import Preprocessing
from model_store.variants import MixerConfig
from service.runtimes.openvino import PRECISION_HINTS, OpenVinoProgram
from service.runtimes.openvino_import import import_openvino
from service.settings import Precision

VARIANTS, BATCHES = ("S/32", "B/16"), (1, 2, 4, 8, 16, 32)
ROUNDS = 15
TOLERANCE: dict[Precision, float] = {"float32": 1e-3, "bfloat16": 0.03, "int8": 0.03}
PART = "compute"

Call = Callable[[np.ndarray], np.ndarray]  # a batch -> logits [B, N]


class Graphs(NamedTuple):
    """Both graphs of one network: ours on uint8 [B, H, W, 3], theirs on float32 [B, 3, H, W]."""

    ours: Call
    theirs: Call


def measure(
    job: Job, *, variants: Sequence[str] = VARIANTS, batches: Sequence[int] = BATCHES
) -> list[Row]:
    """Return, for every variant, precision and batch, both speeds and their paired ratio."""
    rows = []
    for variant in variants:
        config = architecture(variant)
        arrays = random_weights(config)
        for precision in get_args(Precision):
            graphs = _graphs(config, arrays, precision)
            for batch in batches:
                pixels = pixels_of(batch, config.image_size)
                require_equal(graphs, pixels, precision)
                seconds = _race(graphs, pixels, job.effort.batch_budget_s)
                rows += ratio_rows(f"{variant} {precision}", variant, batch, seconds)
    return rows


def _graphs(config: MixerConfig, arrays: dict[str, np.ndarray], precision: Precision) -> Graphs:
    size = config.image_size
    preprocessing = Preprocessing(resize="squash", resize_size=size, crop_size=size)
    ours = OpenVinoProgram(config, preprocessing, arrays, precision=precision)
    request = _converted(config, arrays, precision).create_infer_request()

    def theirs(images_Bx3xHxW: np.ndarray) -> np.ndarray:
        request.infer([images_Bx3xHxW], share_inputs=True)
        logits, _ = (request.get_output_tensor(i).data.copy() for i in (0, 1))
        return np.asarray(logits)

    return Graphs(lambda images_BxHxWx3: ours(images_BxHxWx3)[0], theirs)


def _converted(config: MixerConfig, arrays: dict[str, np.ndarray], precision: Precision) -> Any:
    openvino = import_openvino()
    import torch  # noqa: PLC0415  (in this part's environment alone)
    from openvino.tools.ovc import convert_model  # noqa: PLC0415  (after the silent import)

    from bench.torch_mixer import torch_mixer  # noqa: PLC0415

    shape = (3, config.image_size, config.image_size)
    model = convert_model(
        torch_mixer(config, arrays), example_input=torch.zeros(2, *shape), input=[-1, *shape]
    )
    hint = PRECISION_HINTS[precision]
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
    return openvino.Core().compile_model(model, "CPU", options)


def pixels_of(batch: int, size: int) -> np.ndarray:
    """Return noise, uint8 [batch, size, size, 3]."""
    return np.random.default_rng(batch).integers(0, 256, (batch, size, size, 3), np.uint8)


def floats_of(pixels_BxHxWx3: np.ndarray) -> np.ndarray:
    """Return what PyTorch's network takes: channels first, in -1..1."""
    floats_BxHxWx3 = pixels_BxHxWx3.astype(np.float32) * np.float32(2 / 255) - 1
    return np.ascontiguousarray(floats_BxHxWx3.transpose(0, 3, 1, 2))


def _race(graphs: Graphs, pixels: np.ndarray, budget_s: float) -> dict[str, list[float]]:
    floats = floats_of(pixels)
    measures = {
        "ours": partial(seconds_of, partial(graphs.ours, pixels)),
        "converted": partial(seconds_of, partial(graphs.theirs, floats)),
    }
    return interleave(measures, ROUNDS, budget_s=budget_s)


def ratio_rows(name: str, variant: str, batch: int, seconds: dict[str, list[float]]) -> list[Row]:
    """Return both speeds and the ratio of each pair, from seconds of `ours` and `converted`."""
    command = f"python -m bench compute --variants {variant} --batches {batch}"

    def row(series: str, unit: str, values: Sequence[float]) -> Row:
        return Row(PART, f"{name}, {series}", unit, tuple(values), command, batch, "batch")

    pairs = zip(seconds["ours"], seconds["converted"], strict=True)
    return [
        *(row(who, "images/s", [batch / s for s in each]) for who, each in seconds.items()),
        row("ours over converted", "ratio", [theirs_s / ours_s for ours_s, theirs_s in pairs]),
    ]


def require_equal(graphs: Graphs, pixels: np.ndarray, precision: Precision) -> None:
    """Refuse to compare the speed of networks that do not compute the same; warm both up."""
    worst = deviation(graphs.theirs(floats_of(pixels)), graphs.ours(pixels))
    if worst > TOLERANCE[precision]:
        raise RuntimeError(f"the graphs differ by {worst:.1e} in {precision}")
