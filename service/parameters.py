"""A request's query and deadline, checked by pydantic in one call.

FastAPI would do it by the signatures of the routes, and look at every field's type again for each
request: a fifth of the event loop's time for an image.
"""

from functools import cache
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from starlette.requests import Request

from service.errors import InvalidParameter

MAX_TIMEOUT_MS = 24 * 3600 * 1000
TIMEOUT_HEADER = "X-Request-Timeout-Ms"

Query = TypeVar("Query", bound=BaseModel)
TimeoutMs = Annotated[int, Field(ge=1, le=MAX_TIMEOUT_MS)]

_TIMEOUT = TypeAdapter(TimeoutMs)
# By pydantic's name of the error, whose own words are not for clients.
_RULES = {
    "bool_parsing": "must be true or false",
    "extra_forbidden": "there is no such parameter here",
    "greater_than_equal": "must be at least {ge}",
    "int_parsing": "must be a whole number",
    "less_than_equal": "must be at most {le}",
}


def read_query(model: type[Query], request: Request) -> Query:
    """Return the query parameters; raise InvalidParameter, which names the first that is wrong."""
    if not request.scope["query_string"]:  # the usual request
        absent: Query = _defaults(model)
        return absent
    given = request.query_params.multi_items()
    parameters = dict(given)
    if len(given) > len(parameters):
        raise InvalidParameter("A query parameter was given more than once.")
    try:
        return model.model_validate_strings(parameters)
    except ValidationError as error:
        raise _refusal(error) from None


@cache
def _defaults(model: type[Query]) -> Query:
    return model()


def read_timeout_ms(request: Request) -> int | None:
    """Return the caller's deadline in milliseconds, None without one; raise InvalidParameter."""
    given = request.headers.get(TIMEOUT_HEADER)
    try:
        return None if given is None else _TIMEOUT.validate_strings(given)
    except ValidationError as error:
        raise _refusal(error, TIMEOUT_HEADER) from None


def _refusal(error: ValidationError, name: str | None = None) -> InvalidParameter:
    first = error.errors()[0]
    rule = _RULES.get(first["type"], "the value is not allowed")
    return InvalidParameter(
        f"{name or first['loc'][0]!s:.80}: {rule.format(**first.get('ctx', {}))}"
    )
