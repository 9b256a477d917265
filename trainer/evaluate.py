"""Evaluate a published version: `python -m trainer.evaluate cifar10-mixer@1 <folder>`."""

from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from model_store.checkpoint import read_parameters
from model_store.manifest import PARAMETERS_FILE
from model_store.mixer import load_mixer
from model_store.store import ModelStore
from trainer.data import load_dataset
from trainer.evaluation import evaluate


def main(
    model: Annotated[str, tyro.conf.Positional],
    data: Annotated[Path, tyro.conf.Positional],
    /,
    store: str = "model_store/builtin",
) -> None:
    """Evaluate a published version on the test split of a data set.

    Args:
        model: reference in the store, such as cifar10-mixer@1.
        data: folder of the data set.
        store: root of the model store, a path or URL.
    """
    root = ModelStore(store)
    version = root.resolve(model)
    folder, manifest = root.open(version), root.manifest(version)
    arrays = read_parameters(folder / PARAMETERS_FILE)
    result = evaluate(
        load_mixer(manifest.architecture, arrays),
        load_dataset(data, "test"),
        manifest.preprocessing,
    )
    Console().print(
        f"{version}: accuracy {result.accuracy:.4f}, top-5 {result.top5_accuracy:.4f}, "
        f"loss {result.loss:.4f} on {result.images} images"
    )


if __name__ == "__main__":
    tyro.cli(main)
