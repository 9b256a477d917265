from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_store.store import ModelStore
from tests.model_store.tiny import TINY, random_arrays
from tests.models import random_checkpoint
from tests.trainer.tiny import command_line
from trainer import pictures
from trainer.pictures import (
    GAP_PIXELS,
    SMALLEST_TILE_PIXELS,
    cosines,
    frequency,
    opposite_pairs,
    opposition,
    ordered_pairs,
    spectral_centroid,
    stem_picture,
    tile,
    token_mixing_picture,
    unit_grids,
    weight_pictures,
)

MID_GREYS = (127, 128)
SIDE = 14


def sinusoid(cycles_y: int, cycles_x: int, phase: float = 0.3, side: int = SIDE) -> np.ndarray:
    """Return a plane wave [side, side] with this many cycles along each axis."""
    y, x = np.mgrid[:side, :side] / side
    wave_GxG: np.ndarray = np.sin(2 * np.pi * (cycles_y * y + cycles_x * x) + phase)
    return wave_GxG


# Pairs


def test_planted_opposite_pairs_are_found_whatever_their_scale() -> None:
    rng = np.random.default_rng(0)
    units_DxS = rng.standard_normal((10, 36))
    scales_Dx1 = rng.uniform(0.1, 10, (10, 1))
    planted_DxS = np.concatenate([units_DxS, -scales_Dx1 * units_DxS])
    order = rng.permutation(20)
    pairs = opposite_pairs(planted_DxS[order])
    assert {frozenset(order[pair]) for pair in pairs.tolist()} == {
        frozenset({i, i + 10}) for i in range(10)
    }


def test_each_unit_is_used_once_and_the_best_pair_comes_first() -> None:
    units_DxS = np.random.default_rng(1).standard_normal((9, 4))
    pairs = opposite_pairs(units_DxS)
    assert pairs.shape == (4, 2)
    assert len(set(pairs.ravel().tolist())) == 8
    off_diagonal = cosines(units_DxS)[np.triu_indices(9, k=1)]
    assert cosines(units_DxS)[tuple(pairs[0])] == off_diagonal.min()


def test_greedy_choice_takes_the_most_opposite_pair_of_all() -> None:
    # 0 and 1 are opposite; 2 is nearer to 0's inverse than to anything else, but comes too late.
    units = np.array([[1, 0], [-1, 0], [-1, 0.5], [0, -1.0]])
    assert opposite_pairs(units).tolist() == [[0, 1], [2, 3]]


def test_random_units_have_no_pair_near_minus_one() -> None:
    units_DxS = np.random.default_rng(2).standard_normal((384, SIDE**2))
    first, second = opposite_pairs(units_DxS)[0]
    assert -0.5 < cosines(units_DxS)[first, second] < 0


def test_unit_of_zeros_has_no_direction() -> None:
    found = cosines(np.array([[0.0, 0], [3, 4]]))
    np.testing.assert_allclose(found, [[0, 0], [0, 1]])


# Frequencies


@pytest.mark.parametrize("cycles", [(1, 0), (0, 3), (2, 2), (3, 4), (5, 1), (0, 7)])
def test_frequency_of_a_plane_wave_is_its_wave_number(cycles: tuple[int, int]) -> None:
    (found,) = frequency(2.5 + sinusoid(*cycles)[None])
    np.testing.assert_allclose(found, np.hypot(*cycles) / SIDE)


def test_frequency_of_a_mixture_is_weighted_by_power() -> None:
    waves = 3 * sinusoid(1, 0) + sinusoid(0, 5)
    np.testing.assert_allclose(frequency(waves[None]), (9 * 1 + 1 * 5) / 10 / SIDE)


def test_frequency_does_not_need_a_square() -> None:
    waves = sinusoid(0, 4)[:6]
    np.testing.assert_allclose(frequency(waves[None]), 4 / SIDE)


def test_chequerboard_has_the_highest_frequency_and_zeros_none() -> None:
    y, x = np.mgrid[:6, :6]
    found = frequency(np.stack([(-1.0) ** (x + y), np.zeros((6, 6))]))
    np.testing.assert_allclose(found, [np.sqrt(0.5), 0])


def test_planted_sinusoids_come_out_as_pairs_sorted_by_frequency() -> None:
    waves = [sinusoid(0, cycles) for cycles in (1, 2, 3, 4, 5, 6)]
    planted_DxGxG = np.stack([*waves, *(-wave for wave in waves)])
    order = np.random.default_rng(3).permutation(12)
    pairs = order[ordered_pairs(planted_DxGxG[order])]
    assert [sorted(pair) for pair in pairs.tolist()] == [[i, i + 6] for i in range(6)]


# Units and filters as pictures


def test_unit_is_a_column_laid_out_row_by_row() -> None:
    kernel_SxD = np.random.default_rng(4).standard_normal((9, 5)).astype(np.float32)
    grids = unit_grids(kernel_SxD)
    assert grids.shape == (5, 3, 3)
    assert grids[4, 2, 1] == kernel_SxD[2 * 3 + 1, 4]


def test_tokens_that_are_no_square_are_refused() -> None:
    with pytest.raises(ValueError, match="12 tokens are no square grid"):
        unit_grids(np.zeros((12, 5)))


def test_tiles_lie_row_by_row_and_keep_their_pixels() -> None:
    tiles = np.arange(5 * 40 * 50 * 3, dtype=np.uint32).reshape(5, 40, 50, 3).astype(np.uint8)
    grid = tile(tiles)
    columns = grid.shape[1] // (50 + GAP_PIXELS)
    for number, pixels in enumerate(tiles):
        top, left = np.array(divmod(number, columns)) * (40 + GAP_PIXELS, 50 + GAP_PIXELS)
        np.testing.assert_array_equal(grid[top : top + 40, left : left + 50], pixels)


def test_small_filters_are_enlarged_pixel_by_pixel() -> None:
    kernel_PxPx3xC = np.random.default_rng(5).standard_normal((4, 4, 3, 1)).astype(np.float32)
    picture, scale = stem_picture(kernel_PxPx3xC), SMALLEST_TILE_PIXELS // 4
    squares = picture[: 4 * scale, : 4 * scale].reshape(4, scale, 4, scale, 3)
    assert (squares == squares[:, :1, :, :1]).all()
    shades = squares[:, 0, :, 0].ravel()[np.argsort(kernel_PxPx3xC.ravel())].astype(int)
    assert (np.diff(shades) >= 0).all()
    assert shades[0] < shades[-1]


def test_filters_are_centred_on_grey_and_keep_their_colours() -> None:
    kernel_PxPx3xC = np.zeros((SMALLEST_TILE_PIXELS, SMALLEST_TILE_PIXELS, 3, 2), np.float32)
    kernel_PxPx3xC[3, 5, 0, 0], kernel_PxPx3xC[4, 6, 2, 0] = 0.5, -0.25
    picture = stem_picture(kernel_PxPx3xC)
    red, blue = picture[3, 5].tolist(), picture[4, 6].tolist()
    assert red[0] == 255
    assert blue[2] == 64
    assert {*red[1:], *blue[:2], *picture[0, 0].tolist()} <= set(MID_GREYS)


def test_token_mixing_shows_a_unit_beside_its_inverse() -> None:
    side, wave = SMALLEST_TILE_PIXELS, sinusoid(1, 2, side=SMALLEST_TILE_PIXELS)
    other = sinusoid(0, 1, side=side)
    units = np.stack([wave, other, -3 * wave]).reshape(3, -1)
    picture = token_mixing_picture(units.T)
    left, right = picture[:side, :side, 0].astype(int), picture[:side, side + 1 : 2 * side + 1, 0]
    assert left.max() == 255
    np.testing.assert_allclose(left + right, 255, atol=1)
    # The unit without a partner stands last, beside white.
    below = picture[side + GAP_PIXELS :, :, 0]
    assert below[:side, :side].min() == 0
    assert below[:side, side:].min() == 255


def test_spectral_centroid_tells_smooth_filters_from_rough_ones() -> None:
    def kernel(cycles: int) -> np.ndarray:
        planes = [sinusoid(0, cycles, phase) for phase in np.linspace(0, 1, 3 * 5)]
        return np.stack(planes, axis=-1).reshape(SIDE, SIDE, 3, 5)

    assert spectral_centroid(kernel(1)) == pytest.approx(1 / SIDE)
    assert spectral_centroid(kernel(6)) == pytest.approx(6 / SIDE)


def test_first_three_blocks_are_drawn_or_all_of_a_shallower_network() -> None:
    arrays = random_arrays(TINY.model_copy(update={"depth": 4}))
    names = ["stem", "token_mixing_0", "token_mixing_1", "token_mixing_2"]
    assert list(weight_pictures(arrays)) == names
    assert list(weight_pictures(random_arrays(TINY.model_copy(update={"depth": 1})))) == names[:2]


# The command


def test_command_writes_png_files_of_a_published_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, out = tmp_path / "store", tmp_path / "a" / "folder"
    checkpoint = random_checkpoint()
    ModelStore(str(store)).publish("tiny", checkpoint)
    with command_line("tiny@1", "--store", str(store), "--out", str(out)):
        assert pictures.main() == 0
    first, *blocks, stem, mixing_0, mixing_1 = capsys.readouterr().out.splitlines()
    assert first.startswith("tiny@1: the stem's spectral centroid is 0.")
    names = ["stem.png", "token_mixing_0.png", "token_mixing_1.png"]
    assert [stem, mixing_0, mixing_1] == [str(out / name) for name in names]
    assert [line.partition(":")[0] for line in blocks] == ["token_mixing_0", "token_mixing_1"]
    assert all("by chance -0." in line for line in blocks)
    for name in names:
        with Image.open(out / name) as image:
            assert image.mode == "RGB"


def test_version_that_is_not_there_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ModelStore(str(tmp_path)).publish("tiny", random_checkpoint())
    with command_line("tiny@7", "--store", str(tmp_path), "--out", str(tmp_path / "out")):
        assert pictures.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("trainer: there is no tiny@7 in ")


def test_opposition_tells_planted_pairs_from_chance() -> None:
    rng = np.random.default_rng(5)
    half_5x40 = rng.standard_normal((5, 40))
    planted = np.concatenate([half_5x40, -3 * half_5x40])
    assert opposition(planted) == pytest.approx(-1)
    assert -0.6 < opposition(rng.standard_normal((10, 40))) < 0
