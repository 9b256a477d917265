import pytest
from pydantic import ValidationError

from model_store.enlarge import enlarged_config
from model_store.variants import VARIANTS, MixerConfig, variant_config, variant_name
from tests.model_store.tiny import TINY

# Spec section 1.5: without a head, with 1000 classes, with 21843 classes, at 224 pixels.
PARAMETERS = {
    "S/32": (18_591_624, 19_104_624, 29_797_083),
    "S/16": (18_015_264, 18_528_264, 29_220_723),
    "B/32": (59_524_428, 60_293_428, 76_321_695),
    "B/16": (59_111_472, 59_880_472, 75_908_739),
    "L/32": (205_914_264, 206_939_264, 228_303_339),
    "L/16": (207_171_168, 208_196_168, 229_560_243),
    "H/14": (431_069_952, 432_350_952, 459_050_835),
    "S/8": (20_133_504, 20_646_504, 31_338_963),
}

# Spec section 1.6, 1000 classes: native at 224, and dense after the K=2 enlargement to 448.
MULTIPLY_ACCUMULATES = {
    "S/32": (1_002_426_368, 5_241_294_848),
    "S/16": (3_776_958_464, 20_038_799_360),
    "B/32": (3_237_722_112, 17_110_382_592),
    "B/16": (12_601_767_936, 67_051_960_320),
    "L/32": (11_253_293_056, 59_807_604_736),
    "L/16": (44_547_678_208, 237_377_658_880),
    "H/14": (120_989_911_040, 645_017_077_760),
}

# Of the same rows at 224, in 10⁹: stem, token mixing and channel mixing.
GIGA_PARTS = {
    "S/32": (0.0771, 0.1028, 0.8221),
    "S/16": (0.0771, 0.4110, 3.2883),
    "B/32": (0.1156, 0.3468, 2.7745),
    "B/16": (0.1156, 1.3873, 11.0981),
    "L/32": (0.1541, 1.2331, 9.8650),
    "L/16": (0.1541, 4.9325, 39.4600),
    "H/14": (0.1927, 13.4218, 107.3742),
}


def test_every_variant_of_table_1_is_counted() -> None:
    assert PARAMETERS.keys() == VARIANTS.keys()
    assert MULTIPLY_ACCUMULATES.keys() == VARIANTS.keys() - {"S/8"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_are_the_specification_s(name: str) -> None:
    counts = [variant_config(name, num_classes=n).parameter_count for n in (0, 1000, 21_843)]
    assert tuple(counts) == PARAMETERS[name]


@pytest.mark.parametrize("name", MULTIPLY_ACCUMULATES)
def test_forward_costs_are_the_specification_s(name: str) -> None:
    native = variant_config(name, num_classes=1000)
    costs = (native.multiply_accumulates, enlarged_config(native, 2).multiply_accumulates)
    assert costs == MULTIPLY_ACCUMULATES[name]
    assert native.forward_cost.flops == 2 * costs[0]


@pytest.mark.parametrize(("name", "parts"), GIGA_PARTS.items())
def test_parts_of_the_cost_are_the_specification_s(
    name: str, parts: tuple[float, float, float]
) -> None:
    cost = variant_config(name, num_classes=1000).forward_cost
    assert [round(part / 1e9, 4) for part in cost[:3]] == list(parts)
    assert cost.head == VARIANTS[name].width * 1000


@pytest.mark.parametrize("name", VARIANTS)
def test_cost_is_linear_in_the_patches_at_one_token_mlp_width(name: str) -> None:
    side = 3 * VARIANTS[name].patch_size
    small, large = (
        variant_config(name, num_classes=0, image_size=size).forward_cost
        for size in (side, 2 * side)
    )
    assert large == tuple(4 * part for part in small)


def test_tokens_are_the_patches_of_the_grid() -> None:
    assert (TINY.grid, TINY.tokens) == (3, 9)


@pytest.mark.parametrize("name", VARIANTS)
def test_name_of_a_variant_is_found_again_at_any_size_and_head(name: str) -> None:
    patch = VARIANTS[name].patch_size
    for num_classes, image_size in ((1000, 224), (0, 3 * patch)):
        config = variant_config(name, num_classes=num_classes, image_size=image_size)
        assert variant_name(config) == name


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 9},
        {"patch_size": 28},
        {"width": 513},
        {"token_mlp_width": 257},
        {"channel_mlp_width": 2049},
        {"channel_mlp_width": 4096},
    ],
)
def test_any_other_shape_is_custom(change: dict[str, int]) -> None:
    config = variant_config("S/32", num_classes=10)
    assert variant_name(config.model_copy(update=change)) == "custom"


def test_unknown_variant_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'XL/16'.*S/32, S/16"):
        variant_config("XL/16", num_classes=10)


def test_image_that_patches_do_not_tile_is_refused() -> None:
    with pytest.raises(ValidationError, match="image_size 225 is no multiple of patch_size 16"):
        variant_config("S/16", num_classes=10, image_size=225)


@pytest.mark.parametrize("field", [name for name in MixerConfig.model_fields if name != "gelu"])
def test_numbers_below_their_range_are_refused(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        MixerConfig.model_validate({**TINY.model_dump(), field: -1})


def test_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="heads"):
        MixerConfig.model_validate({**TINY.model_dump(), "heads": 8})
