"""The conformance checklist of the specification (section 10), item by item.

Each item is asserted here as it is written there; the mirrored test files go deeper.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from PIL import Image
from pydantic import ValidationError

from model_store.enlarge import enlarge, enlarged_config, enlargement_factor, with_new_head
from model_store.importers.npz import read_npz, write_npz
from model_store.importers.timm import read_timm, write_timm
from model_store.layers import Execution
from model_store.mixer import Mixer, load_mixer, named_parameters
from model_store.parameters import parameter_shapes
from model_store.preprocess import Preprocessing, normalise, to_input
from model_store.ridge import (
    BIAS_FEATURE,
    L2,
    Labelled,
    TransferSet,
    current_protocol,
    fit,
    solve_dual,
    solve_primal,
)
from model_store.variants import VARIANTS, MixerConfig, variant_config
from tests.model_store.reference_forward import forward, layer_norm, normalised_tokens, tokens
from tests.model_store.test_mixer import relative_error, run
from tests.model_store.test_variants import MULTIPLY_ACCUMULATES, PARAMETERS
from tests.model_store.tiny import TINY, random_arrays, random_images
from tests.trainer.tiny import MODEL, draw_pictures, tiny_config
from trainer.augment import mixup
from trainer.config import OptimiserConfig
from trainer.optimiser import make_optimiser, schedule
from trainer.permute import PatchPermutation
from trainer.step import build_step

ARRAYS = random_arrays(TINY)
IMAGES = random_images(TINY, batch=2)


# 1. Parameter counts; a head of zeros answers zeros, or its constant bias


@pytest.mark.parametrize("name", VARIANTS)
def test_item_1_parameter_counts(name: str) -> None:
    for num_classes, wanted in zip((0, 1000, 21_843), PARAMETERS[name], strict=True):
        config = variant_config(name, num_classes=num_classes)
        shapes = parameter_shapes(config).values()
        assert config.parameter_count == sum(int(np.prod(shape)) for shape in shapes) == wanted


def test_item_1_zero_head() -> None:
    untrained = named_parameters(nnx.state(Mixer(TINY, rngs=nnx.Rngs(0)), nnx.Param))
    assert np.array_equal(run(untrained, IMAGES)[0], np.zeros((2, 6)))
    constant = np.full(6, -6.9, np.float32)
    logits, _ = run(untrained | {"head/bias": constant}, IMAGES)
    assert np.array_equal(logits, np.stack([constant, constant]))


# 2. Formats


def test_item_2_formats_round_trip(tmp_path: Path) -> None:
    deep = TINY.model_copy(update={"depth": 12})
    arrays = random_arrays(deep)
    dense = [f"Dense_{i}/{leaf}" for i in (0, 1) for leaf in ("kernel", "bias")]
    block = [f"{mlp}_mixing/{name}" for mlp in ("token", "channel") for name in dense]
    block += [f"LayerNorm_{i}/{leaf}" for i in (0, 1) for leaf in ("scale", "bias")]
    names = {f"MixerBlock_{i}/{name}" for i in range(12) for name in block}
    names |= {f"{module}/{leaf}" for module in ("stem", "head") for leaf in ("kernel", "bias")}
    names |= {f"pre_head_layer_norm/{leaf}" for leaf in ("scale", "bias")}

    write_npz(tmp_path / "w.npz", arrays)
    with np.load(tmp_path / "w.npz") as archive:
        assert set(archive.files) == names
    assert len(names) == 12 * 12 + 6
    first = named_parameters(
        nnx.state(load_mixer(deep, read_npz(tmp_path / "w.npz").arrays), nnx.Param)
    )
    write_timm(tmp_path / "w.safetensors", first)
    second = named_parameters(
        nnx.state(load_mixer(deep, read_timm(tmp_path / "w.safetensors").arrays), nnx.Param)
    )
    assert second.keys() == names
    assert all(second[name].tobytes() == arrays[name].tobytes() for name in names)


# 3. to 5. Forward pass


def test_item_3_two_forward_passes_agree_and_the_gelus_differ() -> None:
    logits = {}
    for gelu in ("tanh", "erf"):
        config = TINY.model_copy(update={"gelu": gelu})
        with jax.default_matmul_precision("highest"):
            logits[gelu], _ = run(ARRAYS, IMAGES, config)
        assert relative_error(logits[gelu], forward(IMAGES, ARRAYS, gelu=gelu)[0]) < 1e-5
    assert 1e-5 < relative_error(logits["erf"], logits["tanh"]) < 1e-2


def test_item_4_layer_norm_epsilon() -> None:
    # The token's variance is near 1e-6, beside which 1e-5 is not small.
    module = nnx.LayerNorm(5, epsilon=TINY.layer_norm_epsilon, rngs=nnx.Rngs(0))
    token_1xC = np.array([[1.5e-3, -0.5e-3, 0.5e-3, -1e-3, -0.5e-3]], np.float32)
    affine = {"n/scale": np.ones(5), "n/bias": np.zeros(5)}
    found = np.asarray(module(jnp.asarray(token_1xC)))
    assert relative_error(found, layer_norm(token_1xC, affine, "n", epsilon=1e-6)) < 1e-3
    assert relative_error(found, layer_norm(token_1xC, affine, "n", epsilon=1e-5)) > 0.3
    assert load_mixer(TINY, ARRAYS).pre_head_layer_norm.epsilon == 1e-6


def test_item_5_tokens_are_normalised_before_they_are_averaged() -> None:
    # With every branch silent the embedding is a function of the stem's tokens alone.
    silent = {n: np.zeros_like(a) if "/Dense_1/" in n else a for n, a in ARRAYS.items()}
    stem_BxSxC = tokens(IMAGES.astype(np.float64), silent)
    _, embedding = run(silent, IMAGES)
    name = "pre_head_layer_norm"
    assert relative_error(embedding, layer_norm(stem_BxSxC, silent, name).mean(axis=1)) < 1e-5
    assert relative_error(embedding, layer_norm(stem_BxSxC.mean(axis=1), silent, name)) > 0.1


# 6. Identities of sections 5.3 and 7.3


def test_item_6_enlargement() -> None:
    config, arrays = enlarge(TINY, ARRAYS, 2)
    quarters_4xBxHxWx3 = np.stack([random_images(TINY, batch=2, seed=seed) for seed in range(4)])
    images = mosaic(quarters_4xBxHxWx3)
    small = [run(ARRAYS, quarter) for quarter in quarters_4xBxHxWx3]
    logits, embedding = run(arrays, images, config)

    found_BxNxC = normalised_tokens(images, arrays, gelu="tanh")  # 1: the tokens of the quarters
    for n in range(36):
        (i, y), (j, x) = divmod(n // 6, 3), divmod(n % 6, 3)
        quarter_BxSxC = normalised_tokens(quarters_4xBxHxWx3[2 * i + j], ARRAYS, gelu="tanh")
        assert relative_error(found_BxNxC[:, n], quarter_BxSxC[:, 3 * y + x]) < 1e-12
    assert relative_error(embedding, np.mean([e for _, e in small], axis=0)) < 1e-5  # 2
    assert relative_error(logits, np.mean([z for z, _ in small], axis=0)) < 1e-5  # 3
    repeated = mosaic(np.stack([IMAGES] * 4))  # 4
    assert relative_error(run(arrays, repeated, config)[0], run(ARRAYS, IMAGES)[0]) < 1e-5
    moved = mosaic(quarters_4xBxHxWx3[[2, 0, 3, 1]])  # 5: quarters may move, patches may not
    assert relative_error(run(arrays, moved, config)[0], logits) < 1e-5
    rolled = mosaic(np.roll(quarters_4xBxHxWx3, TINY.patch_size, axis=2))
    assert relative_error(run(arrays, rolled, config)[0], logits) > 1e-3
    for name, array in enlarge(TINY, ARRAYS, 1)[1].items():  # 6
        assert array.tobytes() == ARRAYS[name].tobytes()
    large = random_images(enlarged_config(TINY, 6), batch=1)  # 7
    twice, once = enlarge(config, arrays, 3)[1], enlarge(TINY, ARRAYS, 6)[1]
    found, wanted = (forward(large, of, gelu="tanh")[0] for of in (twice, once))
    assert relative_error(found, wanted) < 1e-12
    graph, state = nnx.split(load_mixer(config, arrays))  # 8
    gradients = named_parameters(
        jax.jit(jax.grad(lambda s: (nnx.merge(graph, s)(jnp.asarray(images))[0] ** 2).sum()))(state)
    )
    for name in (f"MixerBlock_0/token_mixing/Dense_{i}/kernel" for i in (0, 1)):
        assert np.count_nonzero(arrays[name]) == 4 * np.count_nonzero(ARRAYS[name])
        assert abs(gradients[name][arrays[name] == 0].mean()) > 1e-5
    assert np.array_equal(arrays["head/kernel"], ARRAYS["head/kernel"])  # 9: kept, or reset
    assert not with_new_head(config, arrays, 4)[1]["head/kernel"].any()


def mosaic(quarters_4xBxHxWx3: np.ndarray) -> np.ndarray:
    """Return images [B, 2H, 2W, 3] with these quarters, row by row."""
    a, b, c, d = quarters_4xBxHxWx3
    return np.concatenate([np.concatenate([a, b], axis=2), np.concatenate([c, d], axis=2)], axis=1)


def test_item_6_permuted_parameters_on_permuted_images() -> None:
    permutation = PatchPermutation.draw(TINY, np.random.default_rng(0))
    logits, _ = run(ARRAYS, IMAGES)
    permuted = permutation.images(IMAGES)
    assert relative_error(run(permutation.parameters(ARRAYS), permuted)[0], logits) < 1e-5
    assert relative_error(run(ARRAYS, permuted)[0], logits) > 1e-3


def test_item_6_permuted_training_has_the_same_losses() -> None:
    permutation = PatchPermutation.draw(MODEL, np.random.default_rng(0))
    labels = np.arange(8, dtype=np.int32) % 3
    batches = [
        np.stack(
            [draw_pictures(int(label), 1, seed=10 * n + i)[0] for i, label in enumerate(labels)]
        )
        for n in range(10)
    ]
    initial, step = build_step(tiny_config(Path("unused")), total_steps=60)
    parameters = named_parameters(initial.params)

    def losses(start: dict[str, np.ndarray], batches: list[np.ndarray]) -> list[float]:
        params = nnx.split(load_mixer(MODEL, start), nnx.Param)[1]
        state = jax.tree.map(jnp.copy, initial._replace(params=params))  # a step takes its buffers
        found = []
        for images in batches:
            state, report = step(state, jnp.asarray(images), jnp.asarray(labels))
            found.append(float(report.loss))
        return found

    wanted = losses(parameters, batches)
    permuted = [permutation.images(images) for images in batches]
    assert wanted[-1] < wanted[0]
    np.testing.assert_allclose(losses(permutation.parameters(parameters), permuted), wanted, 1e-4)
    assert not np.allclose(losses(parameters, permuted), wanted, rtol=1e-3)


# 7. Few-shot


def test_item_7_few_shot() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((9, 6)), rng.standard_normal((9, 3))
    primal, dual = (solve(x, y).weights(L2) for solve in (solve_primal, solve_dual))
    np.testing.assert_allclose(primal, dual, rtol=1e-9)
    assert (BIAS_FEATURE, L2) == (100, 1024)

    labels = np.arange(60) % 3
    embeddings = rng.standard_normal((60, 5)) + labels[:, None]
    examples = Labelled(embeddings, labels)
    data = {"random": TransferSet(examples, examples, num_classes=3)}
    first, again = (current_protocol(data, shots=(5,), seeds=3) for _ in range(2))
    assert first == again
    assert len(set(first[0].accuracies)) > 1
    # Targets of -1 and +1, and a bias that the penalty hardly touches: the scores' mean over the
    # examples is the targets' mean, for a third are +1.
    scores = fit(examples, 3).scores(embeddings)
    np.testing.assert_allclose(scores.mean(axis=0), [-1 / 3] * 3, rtol=0.01)


# 8. Pre-processing


def test_item_8_preprocessing() -> None:
    squash = Preprocessing(resize="squash", resize_size=256, crop_size=224)
    shorter_side = Preprocessing(resize="shorter_side", resize_size=256, crop_size=224)
    colour = (0, 101, 255)
    for preprocessing in (squash, shorter_side):
        pixels = to_input(Image.new("RGB", (500, 333), colour), preprocessing)
        assert (pixels == colour).all()
        found = normalise(pixels[None], preprocessing)
        wanted = np.broadcast_to(np.array(colour) / 127.5 - 1, found.shape)
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    # 512 x 256 with dark outer quarters: (i) squashes some of them into the crop, (ii) cuts all.
    wide = np.full((256, 512, 3), 255, np.uint8)
    wide[:, :128], wide[:, -128:] = 0, 0
    assert to_input(Image.fromarray(wide), squash).min() == 0
    assert to_input(Image.fromarray(wide), shorter_side).min() == 255


# 9. Optimiser


def test_item_9_schedule() -> None:
    share = schedule(OptimiserConfig(warmup_steps=10_000), 92_897)
    found = [float(share(step)) for step in (0, 10_000, 92_897)]
    assert found == pytest.approx([0, 1, 0], abs=2e-5)


def test_item_9_one_step_by_hand() -> None:
    # Clipping makes the norm of 5 a norm of 1, which shows where epsilon counts: Adam's direction
    # of 1e-7 is 2e-8 / (2e-8 + 1e-8). At t = 0 the rate is 0, at t = 1 it is at its peak.
    config = OptimiserConfig(learning_rate=0.1, weight_decay=0.5, clip_norm=1.0, warmup_steps=1)
    optimiser = make_optimiser(config, 100)
    params = nnx.State({"kernel": jnp.array([2.0, -1.0]), "bias": jnp.array([1.0])})
    gradient = nnx.State({"kernel": jnp.array([3.0, 1e-7]), "bias": jnp.array([4.0])})
    state = optimiser.init(params)
    for _ in range(2):
        updates, state = optimiser.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    kernel = [2 - 0.1 * (1 + 0.5 * 2), -1 - 0.1 * (2 / 3 - 0.5 * 1)]
    assert np.asarray(params["kernel"]) == pytest.approx(kernel, rel=1e-5)
    assert np.asarray(params["bias"]) == pytest.approx([1 - 0.1], rel=1e-5)  # no decay


# 10. Stochastic depth


def test_item_10_stochastic_depth() -> None:
    model = Mixer(TINY, Execution(stochastic_depth=0.5), rngs=nnx.Rngs(0))
    assert [block.drop.rate for block in model.blocks] == pytest.approx([0, 0.25, 0.5])
    last = nnx.jit(model.blocks[-1])
    x_BxSxC = jnp.tile(jax.random.normal(jax.random.key(0), (1, 9, 5)), (64, 1, 1))
    kept = np.asarray(last(x_BxSxC, None))
    assert np.array_equal(kept, last(x_BxSxC, None))
    dropped = np.asarray(last(x_BxSxC, jax.random.key(1)))
    # Per example: the token branch, the channel branch, both or neither. With both it is exactly
    # the evaluation's, and with neither the input: nothing is rescaled.
    assert len(np.unique(dropped.round(4), axis=0)) == 4
    for whole in (kept[0], np.asarray(x_BxSxC[0])):
        assert np.isclose(dropped, whole, atol=1e-5).all(axis=(1, 2)).any()


# 11. Mixup


def test_item_11_mixup() -> None:
    images = jax.random.normal(jax.random.key(5), (4, 2, 2, 3))
    shares = []
    for seed in range(20):
        mixed, targets = mixup(images, jnp.eye(4), 0.8, jax.random.key(seed))
        shares.append(share := float(targets[0, 0]))
        for found, original in ((mixed, images), (targets, jnp.eye(4))):
            partner = np.roll(original, 1, axis=0)
            wanted = share * np.asarray(original) + (1 - share) * partner
            np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert min(shares) >= 0.5
    assert len(set(shares)) == 20


# 12. FLOPs


@pytest.mark.parametrize("name", MULTIPLY_ACCUMULATES)
def test_item_12_flops(name: str) -> None:
    native, dense = MULTIPLY_ACCUMULATES[name]
    config = variant_config(name, num_classes=1000)
    assert config.forward_cost.flops == 2 * native
    assert enlarged_config(config, 2).forward_cost.flops == 2 * dense


# 13. Image sizes


def test_item_13_image_sizes() -> None:
    with pytest.raises(ValidationError, match="13 is no multiple of patch_size 4"):
        MixerConfig.model_validate(TINY.model_dump() | {"image_size": 13})
    with pytest.raises(ValueError, match=r"the model takes \(12, 12, 3\)"):
        load_mixer(TINY, ARRAYS)(jnp.zeros((1, 16, 16, 3)))
    assert enlargement_factor(TINY, 24) == 2
    with pytest.raises(ValueError, match="allowed are 12, 24, 36"):
        enlargement_factor(TINY, 16)


# 14. Batches


def test_item_14_outputs_do_not_depend_on_the_batch() -> None:
    images = random_images(TINY, batch=5)
    together = run(ARRAYS, images)
    for i in range(5):
        for alone, wanted in zip(run(ARRAYS, images[i : i + 1]), together, strict=True):
            assert relative_error(alone[0], wanted[i]) < 1e-6
