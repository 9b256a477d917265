"""What `GET /models` says of each model."""

from service.directory import Directory, Model
from service.schemas import ModelSummary


def describe(directory: Directory[Model]) -> list[ModelSummary]:
    """Return each served model with its loaded versions, in the configured order."""
    names = dict.fromkeys(model.version.model for model in directory.served)
    return [
        ModelSummary(
            name=name,
            default=name == directory.default.partition("@")[0],
            versions=[m.summary() for m in directory.served if m.version.model == name],
        )
        for name in names
    ]
