"""Parameters are read as their models say, and the first wrong one is named with its rule."""

import pytest
from starlette.requests import Request

from service.errors import InvalidParameter
from service.parameters import MAX_TIMEOUT_MS, read_query, read_timeout_ms
from service.schemas import ClassifyQuery, GetEmbedQuery


def request(query: str = "", **headers: str) -> Request:
    raw = [
        (name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()
    ]
    return Request({"type": "http", "query_string": query.encode(), "headers": raw})


def test_parameters_are_read() -> None:
    query = read_query(ClassifyQuery, request("model=a%40b&top_k=3"))
    assert query == ClassifyQuery(model="a@b", top_k=3)
    assert read_query(ClassifyQuery, request()) == ClassifyQuery()
    assert read_query(GetEmbedQuery, request("normalize=TRUE&image=aa")).normalize


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("top_k=0", "top_k: must be at least 1"),
        ("top_k=x", "top_k: must be a whole number"),
        ("top_k=", "top_k: must be a whole number"),
        ("top=1", "top: there is no such parameter here"),
        ("model=a&model=b", "A query parameter was given more than once."),
        ("x" * 200 + "=1", "x" * 80 + ": there is no such parameter here"),
    ],
)
def test_a_wrong_parameter_is_named(query: str, detail: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        read_query(ClassifyQuery, request(query))
    assert refusal.value.detail == detail


def test_a_wrong_truth_value_is_named() -> None:
    with pytest.raises(InvalidParameter, match="normalize: must be true or false"):
        read_query(GetEmbedQuery, request("normalize=perhaps"))


@pytest.mark.parametrize(
    ("given", "read"), [("1", 1), ("250", 250), (str(MAX_TIMEOUT_MS), MAX_TIMEOUT_MS)]
)
def test_a_deadline_is_read(given: str, read: int) -> None:
    assert read_timeout_ms(request(X_Request_Timeout_Ms=given)) == read


def test_no_deadline_is_none() -> None:
    assert read_timeout_ms(request()) is None


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ("0", "must be at least 1"),
        ("-5", "must be at least 1"),
        ("1.5", "must be a whole number"),
        ("", "must be a whole number"),
        (str(MAX_TIMEOUT_MS + 1), f"must be at most {MAX_TIMEOUT_MS}"),
    ],
)
def test_a_wrong_deadline_is_named(given: str, rule: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        read_timeout_ms(request(X_Request_Timeout_Ms=given))
    assert refusal.value.detail == f"X-Request-Timeout-Ms: {rule}"
