from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainer.studies.planted import planted
from tests.trainer.tiny import MODEL, tiny_config
from trainer.environment import environment
from trainer.studies.cache import Cache, Record, settings_digest, training_settings
from trainer.studies.candidates import mixer, untied
from trainer.studies.training import Training

CONFIG = replace(tiny_config(Path("unused")), steps=3)
TRAINING = Training(("Mixer",), mixer(MODEL), CONFIG, images=20)
DIGESTS = {"train": "aa", "test": "bb"}


def key(training: Training, digests: dict[str, str] = DIGESTS) -> str:
    return settings_digest(training_settings(training, digests))


def test_record_is_found_by_its_settings_alone(tmp_path: Path) -> None:
    cache, settings = Cache(tmp_path / "new"), training_settings(TRAINING, DIGESTS)
    assert cache.find(settings) is None
    record = Record(settings, environment(), planted(0.5, curve=(0.1, 0.2)))
    cache.add(record)
    assert cache.find(dict(reversed(settings.items()))) == record
    assert cache.find({**settings, "images": 21}) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(TRAINING, images=21),
        replace(TRAINING, candidate=untied(MODEL)),
        replace(TRAINING, candidate=mixer(MODEL).behind(tuple(range(64)))),
        replace(TRAINING, config=replace(CONFIG, seed=1)),
        replace(TRAINING, config=replace(CONFIG, steps=4)),
        replace(TRAINING, config=replace(CONFIG, batch_size=9)),
        replace(TRAINING, evaluated_images=7),
        replace(TRAINING, curve_points=2),
    ],
)
def test_what_changes_the_result_changes_the_key(other: Training) -> None:
    assert key(other) != key(TRAINING)


def test_other_data_are_another_training_and_other_names_are_not() -> None:
    assert key(TRAINING, {**DIGESTS, "train": "cc"}) != key(TRAINING)
    assert key(replace(TRAINING, case=("renamed",))) == key(TRAINING)
    elsewhere = replace(CONFIG, data=replace(CONFIG.data, path=Path("elsewhere")))
    assert key(replace(TRAINING, config=elsewhere)) == key(TRAINING)


def test_damaged_record_is_named(tmp_path: Path) -> None:
    settings = training_settings(TRAINING, DIGESTS)
    (tmp_path / f"{settings_digest(settings)}.json").write_text("{}")
    with pytest.raises(ValueError, match=r"\.json: not what a study writes"):
        Cache(tmp_path).find(settings)
