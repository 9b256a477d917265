"""Evaluate a published version: `python -m trainer.evaluate cifar10-mixer@1 <folder>`."""

import sys
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from model_store.checkpoint import read_parameters
from model_store.errors import StoreError
from model_store.manifest import PARAMETERS_FILE, Manifest
from model_store.mixer import load_mixer
from model_store.store import ModelStore
from trainer.data import DataError, DataSet, load_dataset
from trainer.evaluation import Evaluation, evaluate


def evaluate_version(
    model: Annotated[str, tyro.conf.Positional],
    data: Annotated[Path, tyro.conf.Positional],
    /,
    store: str = "model_store/builtin",
) -> Evaluation:
    """Evaluate a published version on the test split of a data set.

    Args:
        model: reference in the store, such as cifar10-mixer@1.
        data: folder of the data set.
        store: root of the model store, a path or URL.
    """
    root = ModelStore(store)
    version = root.resolve(model)
    folder, manifest = root.open(version), root.manifest(version)
    test_set = load_dataset(data, "test")
    _check_classes(manifest, test_set, data)
    mixer = load_mixer(manifest.architecture, read_parameters(folder / PARAMETERS_FILE))
    result = evaluate(mixer, test_set, manifest.preprocessing)
    Console(soft_wrap=True).print(
        f"{version}: accuracy {result.accuracy:.4f}, top-5 {result.top5_accuracy:.4f}, "
        f"loss {result.loss:.4f} on {result.images} images"
    )
    return result


def _check_classes(manifest: Manifest, test_set: DataSet, data: Path) -> None:
    """Refuse data whose class numbers mean something else than the model's."""
    found, expected = len(test_set.classes), manifest.architecture.num_classes
    if found != expected or manifest.labels not in ((), test_set.classes):
        msg = f"{data}: its {found} classes are not the {expected} that the model was trained on"
        raise DataError(msg)


def main() -> int:
    """Run the command line; return its exit code."""
    try:
        tyro.cli(evaluate_version)
    except (DataError, StoreError, OSError, ValueError) as error:
        Console(stderr=True, soft_wrap=True).print(
            f"trainer: {error}", highlight=False, markup=False
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
