import numpy as np
import pytest

from deploy.batch.rows import ImageMissing, errors_in, row_of
from service.answers import top_k
from service.batch import Answer
from service.errors import ImageUndecodable, InternalError, Overloaded
from service.pipeline import Computed
from service.runner import Row
from tests.deploy.batch.asking import asked
from tests.model_store.versions import version

MANIFEST = version().manifest
LOGITS_N = np.array([0.5, -1, 3, 2, 0, 1], np.float32)
EMBEDDING_C = np.array([3, 0, 4, 0, 0], np.float32)
COMPUTED = Computed(Answer(Row(LOGITS_N, EMBEDDING_C), 0.0, 0.0, 1, 1), 0.0, 0.0)
IDENTITY = {"path": "a/b.png", "model": "tiny", "version": "3"}
NO_ERROR = {"error_code": None, "error_detail": None}


def test_a_classification_is_that_of_the_service() -> None:
    row = row_of("a/b.png", COMPUTED, asked(top_k=2), MANIFEST)
    expected = top_k(LOGITS_N, MANIFEST.labels, 2)
    assert [each["label"] for each in expected] == ["cow", "dog"]
    assert row == {**IDENTITY, "predictions": expected, **NO_ERROR}


@pytest.mark.parametrize(("normalize", "length"), [(False, 5), (True, 1)])
def test_an_embedding_is_the_feature(normalize: bool, length: float) -> None:
    wanted = asked(task="embed", top_k=None, normalize=normalize)
    row = row_of("a/b.png", COMPUTED, wanted, MANIFEST)
    np.testing.assert_allclose(row.pop("embedding"), EMBEDDING_C * (length / 5), rtol=1e-6)
    assert row == {**IDENTITY, **NO_ERROR}


@pytest.mark.parametrize("error", [ImageUndecodable("It is damaged."), ImageMissing("It left.")])
def test_what_is_wrong_with_an_image_is_its_row(error: ImageUndecodable | ImageMissing) -> None:
    row = row_of("a/b.png", error, asked(), MANIFEST)
    said = {"error_code": error.code, "error_detail": error.detail}
    assert row == {**IDENTITY, "predictions": None, **said}
    assert errors_in([row, row_of("c", COMPUTED, asked(), MANIFEST)]) == 1


@pytest.mark.parametrize(
    "error", [InternalError("The device failed."), Overloaded("Full.", retry_after_s=1)]
)
def test_what_is_no_images_fault_is_no_row(error: InternalError | Overloaded) -> None:
    with pytest.raises(type(error)):
        row_of("a/b.png", error, asked(), MANIFEST)
