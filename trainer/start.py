"""The parameters before the first step: fresh ones, or a published version's for fine-tuning."""

import numpy as np

from model_store.enlarge import enlarge, enlargement_factor, with_new_head
from model_store.manifest import PARAMETERS_FILE
from model_store.parameters import read_parameters
from model_store.store import ModelStore
from trainer.config import TrainConfig


def start_parameters(config: TrainConfig) -> dict[str, np.ndarray] | None:
    """Return the published parameters, enlarged to the run's image size, with a head of zeros.

    None where the run starts from fresh parameters.

    Raises:
        StoreError: there is no such version, or it is damaged.
        ValueError: the run's network is not the published one at an integer multiple of its size.
    """
    if config.start.model is None:
        return None
    store = ModelStore(config.start.store)
    version = store.resolve(config.start.model)
    published = store.manifest(version).architecture
    factor = enlargement_factor(published, config.model.image_size)
    arrays = read_parameters(store.open(version) / PARAMETERS_FILE)
    architecture, arrays = enlarge(published, arrays, factor)
    architecture, arrays = with_new_head(architecture, arrays, config.model.num_classes)
    if architecture != config.model:
        wanted, found = config.model.model_dump(), architecture.model_dump()
        differing = ", ".join(f"{k} {wanted[k]}" for k in wanted if wanted[k] != found[k])
        msg = f"the run's network has {differing}; {version} at this size has not"
        raise ValueError(msg)
    return arrays
