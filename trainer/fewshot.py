"""Measure the embeddings of a published version by few-shot linear regression (spec section 6).

    python -m trainer.fewshot cifar10-mixer@1 <folder> <folder> --shots 1 5

A data set is a folder that `trainer.data` reads; its classes need not be those of the model.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro
from flax import nnx
from rich.console import Console
from rich.table import Table

from model_store.manifest import PARAMETERS_FILE
from model_store.mixer import Mixer, load_mixer
from model_store.parameters import read_parameters
from model_store.preprocess import Preprocessing, normalise
from model_store.ridge import (
    FewShotResult,
    Labelled,
    TransferSet,
    current_protocol,
    older_protocol,
)
from model_store.store import ModelStore
from trainer.command import run_command
from trainer.data import DataError, DataSet, load_dataset
from trainer.evaluation import collect_outputs

Protocol = Literal["current", "older"]
Splits = tuple[DataSet, DataSet]


def few_shot(
    model: Mixer,
    preprocessing: Preprocessing,
    datasets: Mapping[str, Splits],
    *,
    shots: Sequence[int] = (1, 5, 10, 25),
    seeds: int = 3,
    protocol: Protocol = "current",
) -> list[FewShotResult]:
    """Embed the training and test split of each data set and measure a linear classifier on them.

    Raises:
        DataError: the splits have other classes, or a class has fewer training images than `shots`.
        ValueError: no data set, no shots or no seeds.
    """
    if not datasets or not shots or min(*shots, seeds) < 1:
        msg = "few-shot evaluation needs a data set, shots of at least 1 and at least 1 seed"
        raise ValueError(msg)
    for name, splits in datasets.items():
        _check_splits(name, splits, max(shots))
    embed = _embedder(model, preprocessing)
    embedded = {
        name: TransferSet(embed(train), embed(test), len(train.classes))
        for name, (train, test) in datasets.items()
    }
    if protocol == "older":
        return older_protocol(embedded, shots=shots)
    return current_protocol(embedded, shots=shots, seeds=seeds)


def few_shot_version(
    model: Annotated[str, tyro.conf.Positional],
    data: Annotated[tuple[Path, ...], tyro.conf.Positional],
    /,
    *,
    shots: tuple[int, ...] = (1, 5, 10, 25),
    seeds: int = 3,
    protocol: Protocol = "current",
    store: str = "model_store/builtin",
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> list[FewShotResult]:
    """Measure the embeddings of a published version by few-shot linear regression.

    Args:
        model: reference in the store, such as cifar10-mixer@1.
        data: folders of the data sets.
        shots: training images of each class.
        seeds: how many random choices of the training images (protocol current).
        protocol: current: random images, penalty 1024. older: the first images, and the penalty
            that is best on the test sets.
        store: root of the model store, a path or URL.
        json_file: also write the results to this file.
    """
    root = ModelStore(store)
    version = root.resolve(model)
    folder, manifest = root.open(version), root.manifest(version)
    results = few_shot(
        load_mixer(manifest.architecture, read_parameters(folder / PARAMETERS_FILE)),
        manifest.preprocessing,
        {str(path): (load_dataset(path, "train"), load_dataset(path, "test")) for path in data},
        shots=shots,
        seeds=seeds,
        protocol=protocol,
    )
    Console().print(_table(results, protocol, f"{version}, protocol {protocol}"))
    if json_file is not None:
        report = {
            "model": str(version),
            "protocol": protocol,
            "results": [asdict(result) for result in results],
        }
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    return results


def _check_splits(name: str, splits: Splits, shots: int) -> None:
    """Refuse now what would stop the evaluation after the embedding."""
    train, test = splits
    if train.classes != test.classes:
        msg = f"{name}: train has classes {train.classes}, test {test.classes}"
        raise DataError(msg)
    counts = np.bincount(train.labels, minlength=len(train.classes))
    if counts.min() < shots:
        rarest = train.classes[counts.argmin()]
        msg = f"{name}: class {rarest} has {counts.min()} training images, fewer than {shots} shots"
        raise DataError(msg)


def _embedder(model: Mixer, preprocessing: Preprocessing) -> Callable[[DataSet], Labelled]:
    """Return the function from a data set to its embeddings [N, C], in its order."""

    @nnx.jit
    def forward(model: Mixer, images_BxHxWx3: jax.Array) -> jax.Array:
        return model(normalise(images_BxHxWx3, preprocessing))[1]

    def embed(data: DataSet) -> Labelled:
        return Labelled(*collect_outputs(partial(forward, model), data, preprocessing))

    return embed


def _table(results: Sequence[FewShotResult], protocol: Protocol, title: str) -> Table:
    seeds = [f"seed {seed}" for seed in range(len(results[0].accuracies))]
    table = Table(title=title)
    table.add_column("data set", overflow="fold")
    for name in ("shots", "λ", *(["accuracy"] if protocol == "older" else [*seeds, "mean"])):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        mean = [] if protocol == "older" else [result.mean_accuracy]
        numbers = [f"{accuracy:.4f}" for accuracy in [*result.accuracies, *mean]]
        table.add_row(result.dataset, str(result.shots), f"{result.l2:g}", *numbers)
    return table


def main() -> int:
    """Run the command line; return its exit code."""
    return run_command(lambda _: tyro.cli(few_shot_version))


if __name__ == "__main__":
    sys.exit(main())
