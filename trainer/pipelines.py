"""The two evaluation pipelines of the paper (appendix C), next to the one a version came with."""

from typing import Literal

from model_store.preprocess import Preprocessing

PipelineName = Literal["published", "resize-crop", "resmall-crop"]


def choose_pipeline(name: PipelineName, published: Preprocessing) -> Preprocessing:
    """Return the named pipeline for the crop and the input range that a version was published with.

    `resize-crop` is pipeline (i), `resmall-crop` pipeline (ii), with the kernels of the reference
    code. Both resize to 8/7 of the crop, 256 for 224: other sizes are open in the paper, and the
    same ratio is our choice (spec section 3.2).
    """
    if name == "published":
        return published
    plain = name == "resize-crop"
    return Preprocessing(
        resize="squash" if plain else "shorter_side",
        resize_size=round(published.crop_size * 256 / 224),
        crop_size=published.crop_size,
        filter="bilinear" if plain else "area",
        antialias=not plain,
        input_range=published.input_range,
    )
