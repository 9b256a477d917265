"""What precision costs in answers: `python -m bench.precision MODEL FOLDER` prints it as JSON.

A published version answers the labelled pictures of a data set in every precision that OpenVINO
has, and is compared with itself in float32.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from model_store.golden import deviation
from model_store.manifest import PARAMETERS_FILE
from model_store.parameters import read_parameters
from model_store.store import ModelStore
from service.runtimes.openvino import OpenVinoProgram
from service.runtimes.program import Program
from service.settings import Precision
from trainer.data import DataSet, load_dataset
from trainer.evaluation import collect_outputs
from trainer.measures import top_k_hits


def measure(store: ModelStore, reference: str, data: DataSet) -> dict[Precision, dict[str, float]]:
    """Return, by precision, the accuracy and how the answers differ from those in float32.

    Raises:
        StoreError: no such version, or not as it was published.
    """
    version = store.resolve(reference)
    folder, manifest = store.open(version), store.manifest(version)
    arrays = read_parameters(folder / PARAMETERS_FILE)
    logits: dict[Precision, np.ndarray] = {}
    for precision in get_args(Precision):
        program = OpenVinoProgram(
            manifest.architecture, manifest.preprocessing, arrays, precision=precision
        )
        forward = partial(_logits, program)
        logits[precision], labels_B = collect_outputs(forward, data, manifest.preprocessing)
    exact_BxN = logits["float32"]
    return {p: compare(found_BxN, exact_BxN, labels_B) for p, found_BxN in logits.items()}


def _logits(program: Program, images_BxHxWx3: Any) -> np.ndarray:
    return program(np.asarray(images_BxHxWx3))[0]


def compare(found_BxN: np.ndarray, exact_BxN: np.ndarray, labels_B: np.ndarray) -> dict[str, float]:
    """Return accuracy, share of images with the same first class, and the logits' deviation."""
    same_B = found_BxN.argmax(axis=1) == exact_BxN.argmax(axis=1)
    deviations = [deviation(e, f) for e, f in zip(exact_BxN, found_BxN, strict=True)]
    return {
        "images": len(labels_B),
        "accuracy": float(top_k_hits(found_BxN, labels_B).mean()),
        "same_top1": float(same_B.mean()),
        "mean_deviation": float(np.mean(deviations)),
        "largest_deviation": float(np.max(deviations)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.precision", description=__doc__)
    parser.add_argument("model", help="reference in the store, such as cifar10-mixer@2")
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("--store", default="model_store/builtin", help="root of the model store")
    options = parser.parse_args(arguments)
    data = load_dataset(options.data, "test")
    print(json.dumps(measure(ModelStore(options.store), options.model, data), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
