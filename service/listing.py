"""What `GET /models` says of each model."""

from model_store.variants import variant_name
from service.models import Catalog, ServedModel
from service.schemas import Bucket, ModelSummary, ModelVersion


def describe(catalog: Catalog) -> list[ModelSummary]:
    """Return each served model with its loaded versions, in the configured order."""
    names = dict.fromkeys(model.version.model for model in catalog.served)
    return [
        ModelSummary(
            name=name,
            default=name == catalog.default.partition("@")[0],
            versions=[_version(m) for m in catalog.served if m.version.model == name],
        )
        for name in names
    ]


def _version(model: ServedModel) -> ModelVersion:
    architecture, runner = model.manifest.architecture, model.runner
    return ModelVersion(
        version=str(model.version.version),
        aliases=list(model.aliases),
        variant=variant_name(architecture),
        parameters=architecture.parameter_count,
        input_size=architecture.image_size,
        classes=architecture.num_classes,
        embedding_dim=architecture.width,
        dtype=model.manifest.dtype,
        precision=runner.program.precision,
        runtime=runner.program.runtime,
        device=runner.program.device,
        buckets=[
            Bucket(images=bucket, latency_ms=round(seconds * 1e3, 3))
            for bucket, seconds in runner.curve.latencies_s.items()
        ],
        golden_deviation=model.golden_deviation,
        state="ready",
    )
