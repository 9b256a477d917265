import csv
import io

import pytest

from model_store.variants import variant_config, variant_name
from trainer.configs.paper import RECIPES

# Table 4 of arXiv 2105.01601v4, with the variants of Table 3 for each row.
TABLE_4 = """\
name,variant,epochs,lr,wd,randaug_m,mixup_p,stoch_depth
imagenet-b16,B/16,300,0.001,0.1,15,0.5,0.1
imagenet-l16,L/16,300,0.001,0.1,15,0.5,0.1
imagenet21k-b16,B/16,300,0.001,0.1,10,0.2,0.1
imagenet21k-l16,L/16,300,0.001,0.1,20,0.5,0.1
jft-s32,S/32,5,0.003,0.03,,0,0
jft-s16,S/16,5,0.003,0.03,,0,0
jft-b32,B/32,7,0.003,0.03,,0,0
jft-b16,B/16,7,0.003,0.03,,0,0
jft-l32,L/32,7,0.001,0.03,,0,0
jft-l16,L/16,14,0.001,0.03,,0,0
jft-h14,H/14,14,0.001,0.03,,0,0
"""
ROWS = list(csv.DictReader(io.StringIO(TABLE_4)))


def test_every_row_has_its_recipe() -> None:
    assert {row["name"] for row in ROWS} == RECIPES.keys()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["name"]))
def test_recipe_is_its_row(row: dict[str, str]) -> None:
    _, config = RECIPES[row["name"]]
    assert variant_name(config.model) == row["variant"]
    classes = config.model.num_classes
    assert config.model == variant_config(row["variant"], num_classes=classes)
    assert (config.epochs, config.batch_size, config.dropout) == (int(row["epochs"]), 4096, 0)
    optimiser, augment = config.optimiser, config.augment
    assert (optimiser.name, optimiser.decay) == ("adam", "linear")
    assert (optimiser.clip_norm, optimiser.warmup_steps) == (1, 10_000)
    assert (optimiser.learning_rate, optimiser.weight_decay) == (float(row["lr"]), float(row["wd"]))
    assert augment.rand_augment_layers == (2 if row["randaug_m"] else 0)
    assert augment.rand_augment_magnitude == float(row["randaug_m"] or 0)
    assert (augment.mixup, config.stochastic_depth) == (
        float(row["mixup_p"]),
        float(row["stoch_depth"]),
    )
    assert (augment.crop, augment.crop_min_area, augment.flip) == ("inception", 0.05, True)


def test_head_biases_and_steps_are_the_reference_codes() -> None:
    imagenet, imagenet21k = RECIPES["imagenet-b16"][1], RECIPES["imagenet21k-b16"][1]
    assert (imagenet.head_bias, imagenet21k.head_bias) == (-6.9, -10.0)
    assert imagenet.total_steps(1_268_355) == 92_897
    assert imagenet.loss == "sigmoid"
