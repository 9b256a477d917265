import numpy as np
import pytest
from PIL import Image

from model_store.preprocess import Preprocessing, to_input
from trainer.pipelines import PipelineName, choose_pipeline

PUBLISHED = Preprocessing(
    resize="squash", resize_size=230, crop_size=224, filter="bicubic", input_range=(0.0, 1.0)
)


def test_published_pipeline_is_kept() -> None:
    assert choose_pipeline("published", PUBLISHED) == PUBLISHED


def test_named_pipelines_are_the_papers_with_the_kernels_of_the_reference_code() -> None:
    assert choose_pipeline("resize-crop", PUBLISHED) == Preprocessing(
        resize="squash",
        resize_size=256,
        crop_size=224,
        filter="bilinear",
        antialias=False,
        input_range=(0.0, 1.0),
    )
    assert choose_pipeline("resmall-crop", PUBLISHED) == Preprocessing(
        resize="shorter_side",
        resize_size=256,
        crop_size=224,
        filter="area",
        input_range=(0.0, 1.0),
    )


@pytest.mark.parametrize(("crop", "resized"), [(448, 512), (224, 256), (32, 37), (8, 9)])
def test_margin_is_an_eighth_of_the_resized_image(crop: int, resized: int) -> None:
    published = Preprocessing(resize="squash", resize_size=crop, crop_size=crop)
    for name in ("resize-crop", "resmall-crop"):
        assert choose_pipeline(name, published).resize_size == resized


@pytest.mark.parametrize(("name", "kept"), [("resize-crop", 7 / 8), ("resmall-crop", 7 / 16)])
def test_512x256_image_tells_the_pipelines_apart(name: PipelineName, kept: float) -> None:
    ramp_512x3 = np.repeat(np.arange(512)[:, None] // 2, 3, axis=1).astype(np.uint8)
    picture = Image.fromarray(np.tile(ramp_512x3, (256, 1, 1)))
    found = to_input(picture, choose_pipeline(name, PUBLISHED))
    assert np.ptp(found) == pytest.approx(255 * kept, abs=2)
