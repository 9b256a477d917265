import numpy as np
import pytest

from bench.decode import drawn_cases, main, measure, stages
from bench.pictures import draw_photo
from service.images import decode


def test_every_stage_of_every_case_is_measured() -> None:
    cases = list(drawn_cases(sizes=((40, 30), (90, 70))))
    assert [case.name for case in cases] == [
        "JPEG 40x30",
        "PNG 40x30",
        "WebP 40x30",
        "JPEG 90x70",
    ]
    for case in cases:
        found = measure(stages(case, 7), case.files, rounds=1)
        assert list(found) == ["inspect", "load", "resize", "asarray", "whole path", "scaled path"]
        assert min(found.values()) > 0


def test_the_pictures_depend_on_the_seed_alone() -> None:
    first, same, other = (list(drawn_cases(seed, ((40, 30),))) for seed in (0, 0, 1))
    assert first == same != other
    assert decode(first[0].files[0], max_pixels=1200).size == (40, 30)


def test_a_photo_has_texture_on_every_scale() -> None:
    photo = draw_photo(np.random.default_rng(0), (120, 80))
    for factor in (1, 2, 4, 8, 16):
        coarse_HxWx3 = np.asarray(photo.reduce(factor), np.float32)
        assert abs(np.diff(coarse_HxWx3, axis=1)).mean() > 3


def test_an_empty_folder_is_named(tmp_path: object) -> None:
    with pytest.raises(SystemExit, match=r"no \.jpg or \.jpeg file below"):
        main(["--images", str(tmp_path)])
