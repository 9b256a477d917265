import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainer.tiny import tiny_config
from trainer.config import TrainConfig, all_settings, arithmetic_settings
from trainer.train import RECIPES

CONFIG = tiny_config(Path("somewhere"))


@pytest.mark.parametrize("name", RECIPES)
def test_parts_of_a_recipe_fit_each_other(name: str) -> None:
    _, config = RECIPES[name]
    assert config.preprocessing.crop_size == config.model.image_size
    assert config.batch_size % (config.microbatch_size or config.batch_size) == 0


def test_settings_are_json_without_folders_of_this_machine() -> None:
    settings = all_settings(CONFIG)
    assert json.loads(json.dumps(settings)) == settings
    assert settings["model"] == CONFIG.model.model_dump()
    assert "somewhere" not in json.dumps(settings)
    assert settings.keys() >= {"preprocessing", "augment", "optimiser", "batch_size", "seed"}


@pytest.mark.parametrize(
    "other",
    [
        replace(CONFIG, seed=1),
        replace(CONFIG, epochs=3),
        replace(CONFIG, augment=replace(CONFIG.augment, mixup=0.5)),
        replace(CONFIG, optimiser=replace(CONFIG.optimiser, clip_norm=2.0)),
    ],
)
def test_arithmetic_settings_tell_runs_apart(other: TrainConfig) -> None:
    assert arithmetic_settings(other) != arithmetic_settings(CONFIG)


def test_arithmetic_settings_leave_out_where_and_how_often_is_saved() -> None:
    moved = replace(
        tiny_config(Path("elsewhere"), Path("other data")),
        checkpoint_every_steps=3,
        evaluate_every_epochs=5,
        publish_to="a store",
        publish_as="another-name",
    )
    assert arithmetic_settings(moved) == arithmetic_settings(CONFIG)
