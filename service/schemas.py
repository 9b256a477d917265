"""Parameters that requests carry and bodies that answers have: the source of the OpenAPI page."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

# None, which the documentation leaves out: a parameter can be absent, and cannot be null.
Absent = SkipJsonSchema[None]


class ModelQuery(BaseModel):
    """Query parameters that every inference endpoint takes; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)  # absent queries share one

    model: str | Absent = Field(
        None, description="`name`, `name@version` or `name@alias`; absent: the default model."
    )
    url: str | Absent = Field(
        None, description="Fetch the image from here. Off unless the server lists its host."
    )


class ClassifyQuery(ModelQuery):
    """Query parameters of /classify."""

    top_k: int | Absent = Field(
        None, ge=1, description="Classes to return, 1 to the number of classes. Default: 5."
    )


class EmbedQuery(ModelQuery):
    """Query parameters of POST /embed."""

    normalize: bool = Field(False, description="Scale the embedding to unit L2 length.")


class GetEmbedQuery(EmbedQuery):
    """Query parameters of GET /embed."""

    image: str | Absent = Field(None, description="A small image file in base64url.")


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class ImageError(BaseModel):
    """Why one image of several has no answer."""

    status: int
    code: str
    detail: str


class FailedImage(BaseModel):
    """The result of an image that could not be answered."""

    error: ImageError


class Prediction(BaseModel):
    """One class with its softmax probability."""

    class_id: int
    label: str
    score: float


class Predictions(BaseModel):
    """The most probable classes, highest first."""

    predictions: list[Prediction]


class Embedding(BaseModel):
    """The pooled pre-logits feature, float32."""

    embedding: list[float]


class Classification(Predictions):
    """Answer to one image."""

    model: str
    version: str


class Classifications(BaseModel):
    """Answers to several images, in the order sent."""

    model: str
    version: str
    results: list[Predictions | FailedImage]


class EmbeddingAnswer(Embedding):
    """Answer to one image."""

    model: str
    version: str
    dim: int


class EmbeddingAnswers(BaseModel):
    """Answers to several images, in the order sent."""

    model: str
    version: str
    results: list[Embedding | FailedImage]


class Bucket(BaseModel):
    """One measured batch size."""

    images: int
    latency_ms: float


class ModelVersion(BaseModel):
    """A loaded version."""

    version: str
    aliases: list[str]
    variant: str
    parameters: int
    input_size: int
    classes: int
    embedding_dim: int
    dtype: str = Field(description="type in which the parameters are stored")
    precision: str = Field(description="type of the products and activations")
    runtime: str
    device: str
    buckets: list[Bucket]
    golden_deviation: float = Field(
        description="largest difference to the maker's float32 outputs on the golden images, "
        "relative to the largest output: what hardware, runtime and precision change"
    )
    state: Literal["ready"]


class ModelSummary(BaseModel):
    """A model and its loaded versions."""

    name: str
    default: bool
    versions: list[ModelVersion]


class ModelList(BaseModel):
    """Everything that is configured: what is served, and what is not with the reason.

    By reference, `missing` says why nothing answers, and `stale` why an older version does than
    the store now has.
    """

    models: list[ModelSummary]
    missing: dict[str, str]
    stale: dict[str, str]


class Health(BaseModel):
    """One check: `ok`, or the reasons why not."""

    ok: bool
    reasons: dict[str, str]


class HealthSummary(BaseModel):
    """The three checks."""

    live: Health
    ready: Health
    startup: Health


class Move(BaseModel):
    """A reference that another version answers for now."""

    before: str | None = Field(description="`name@version`; null: none answered")
    after: str


class Reload(BaseModel):
    """What a look at the store has changed, and by reference why anything is not as it has it."""

    moved: dict[str, Move]
    missing: dict[str, str]
    stale: dict[str, str]
