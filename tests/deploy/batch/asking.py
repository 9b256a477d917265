"""A job's request, for tests that change one thing of it."""

from typing import Any

from deploy.batch.job import Asked


def asked(**changes: Any) -> Asked:
    facts = {
        "model": "tiny",
        "version": 3,
        "manifest_sha256": "ab" * 32,
        "input": "s3://bucket/images",
        "suffixes": (),
        "task": "classify",
        "top_k": 2,
        "normalize": False,
        "precision": "float32",
        "decode_scaling": True,
        "max_image_bytes": 1000,
        "max_image_pixels": 2000,
        "part_images": 5,
    }
    return Asked.model_validate({**facts, **changes})
