from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_store.enlarge import enlarge
from model_store.store import ModelStore
from tests.model_store.tiny import random_arrays
from tests.models import TINY, random_checkpoint
from tests.trainer.tiny import tiny_config
from trainer.config import StartConfig, TrainConfig
from trainer.start import start_parameters

ARRAYS = random_arrays(TINY)


@pytest.fixture
def store(tmp_path: Path) -> str:
    root = str(tmp_path / "store")
    ModelStore(root).publish("tiny", random_checkpoint(TINY))
    return root


def config(store: str, **changes: object) -> TrainConfig:
    return replace(
        tiny_config(Path("unused")),
        model=TINY.model_copy(update=changes),
        start=StartConfig("tiny@1", store),
    )


def test_without_a_version_there_is_nothing_to_start_from() -> None:
    assert start_parameters(tiny_config(Path("unused"))) is None


def test_body_is_the_published_one_and_the_head_new(store: str) -> None:
    found = start_parameters(config(store, num_classes=4))
    assert found is not None
    assert found["head/kernel"].shape == (TINY.width, 4)
    assert not found["head/kernel"].any()
    assert not found["head/bias"].any()
    for name, values in ARRAYS.items():
        if not name.startswith("head/"):
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_larger_images_enlarge_the_token_mixing(store: str) -> None:
    found = start_parameters(config(store, image_size=24, token_mlp_width=28))
    assert found is not None
    _, expected = enlarge(TINY, ARRAYS, 2)
    name = "MixerBlock_1/token_mixing/Dense_0/kernel"
    np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 16}, "image_size 16 is no multiple of the model's 12"),
        ({"width": 11, "depth": 3}, "network has width 11, depth 3; tiny@1 at this size has not"),
        ({"image_size": 24}, "network has token_mlp_width 7; tiny@1 at this size has not"),
    ],
)
def test_another_network_is_refused(store: str, changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        start_parameters(config(store, **changes))
