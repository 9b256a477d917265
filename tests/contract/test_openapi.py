"""`/openapi.json` documents what the server really does."""

import json
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.contract.asking import PROBLEM_FIELDS, Json, multipart
from tests.contract.pictures import base64_of, base64url_of, encoded, picture
from tests.service.live import LiveServer

IMAGE = encoded(picture(), "PNG")

OPERATIONS = {
    ("post", "/classify"): {"model", "top_k", "url"},
    ("post", "/embed"): {"model", "normalize", "url"},
    ("get", "/embed"): {"model", "normalize", "url", "image"},
    ("get", "/models"): set(),
    ("get", "/models/{name}"): {"name"},
    ("get", "/livez"): set(),
    ("get", "/readyz"): set(),
    ("get", "/startupz"): set(),
    ("get", "/healthz"): set(),
    ("get", "/metrics"): set(),
}
IMAGE_ERRORS = {
    "400": {"bad_request", "image_undecodable", "image_truncated"},
    "403": {"url_not_allowed"},
    "404": {"model_not_found"},
    "413": {"body_too_large", "image_too_large", "too_many_images"},
    "415": {"unsupported_image"},
    "422": {"invalid_parameter"},
    "429": {"overloaded"},
    "500": {"internal"},
    "503": {"not_ready", "draining", "deadline_unreachable"},
    "504": {"deadline_exceeded"},
}


@pytest.fixture(scope="module")
def document(live: LiveServer) -> Json:
    answer = live.client.get("/openapi.json")
    assert answer.status_code == 200
    document: Json = answer.json()
    return document


def operation(document: Json, method: str, path: str) -> Json:
    found: Json = document["paths"][path][method]
    return found


def test_every_endpoint_is_documented(document: Json) -> None:
    assert document["openapi"].startswith("3.")
    for method, path in OPERATIONS:
        assert operation(document, method, path)["summary"]
        assert operation(document, method, path)["description"]


def test_every_operation_has_its_own_id(document: Json) -> None:
    ids = [operation(document, *each)["operationId"] for each in OPERATIONS]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_parameter_is_documented(document: Json, method: str, path: str) -> None:
    parameters = operation(document, method, path).get("parameters", [])
    names = {each["name"] for each in parameters if each["in"] in ("query", "path")}
    assert names == OPERATIONS[method, path]
    assert all(each["description"] for each in parameters)


def test_no_parameter_is_documented_as_null(document: Json) -> None:
    """A query or a header can be absent; `null` in it is text like any other."""
    for each in OPERATIONS:
        for parameter in operation(document, *each).get("parameters", []):
            assert "null" not in json.dumps(parameter["schema"]), parameter["name"]


@pytest.mark.parametrize(
    ("method", "path"), [("post", "/classify"), ("post", "/embed"), ("get", "/embed")]
)
def test_the_headers_of_a_request_are_documented(document: Json, method: str, path: str) -> None:
    parameters = operation(document, method, path)["parameters"]
    headers = {each["name"].lower() for each in parameters if each["in"] == "header"}
    assert {"x-request-id", "x-request-timeout-ms"} <= headers
    assert ("if-none-match" in headers) == (path == "/embed")


@pytest.mark.parametrize(
    ("method", "path"), [("post", "/classify"), ("post", "/embed"), ("get", "/embed")]
)
def test_every_error_of_an_image_is_documented(document: Json, method: str, path: str) -> None:
    responses = operation(document, method, path)["responses"]
    for status, codes in IMAGE_ERRORS.items():
        content = responses[status]["content"]
        assert set(content) == {"application/problem+json"}, status
        assert all(code in json.dumps(responses[status]) for code in codes), status


def test_every_form_of_an_image_is_documented(document: Json) -> None:
    for method, path in [("post", "/classify"), ("post", "/embed")]:
        forms = set(operation(document, method, path)["requestBody"]["content"])
        assert {"application/json", "multipart/form-data", "application/octet-stream"} <= forms
        assert any(form.startswith("image/") for form in forms)


def test_every_representation_of_an_embedding_is_documented(document: Json) -> None:
    for method in ("get", "post"):
        content = operation(document, method, "/embed")["responses"]["200"]["content"]
        assert set(content) == {
            "application/json",
            "application/x-npy",
            "application/octet-stream",
        }


def test_every_representation_of_the_metrics_is_documented(document: Json) -> None:
    content = operation(document, "get", "/metrics")["responses"]["200"]["content"]
    assert set(content) == {"text/plain", "application/openmetrics-text"}


def test_every_example_of_an_error_fits_its_schema(document: Json) -> None:
    examples = operation(document, "post", "/embed")["responses"]["413"]["content"][
        "application/problem+json"
    ]["examples"]
    assert set(examples) == IMAGE_ERRORS["413"]
    for code, example in examples.items():
        check(document, {"$ref": "#/components/schemas/Problem"}, example["value"])
        assert example["value"]["code"] == code


def test_the_get_body_is_documented_as_a_convenience(document: Json) -> None:
    text = operation(document, "get", "/embed")["description"]
    assert "body" in text
    assert "convenience" in text


def test_answers_have_examples_that_fit_their_schemas(document: Json) -> None:
    for each in [("post", "/classify"), ("post", "/embed")]:
        content = operation(document, *each)["responses"]["200"]["content"]["application/json"]
        examples = [example["value"] for example in content.get("examples", {}).values()]
        examples += [content["example"]] if "example" in content else []
        assert examples, each
        for example in examples:
            check(document, content["schema"], example)


def test_the_documentation_page_is_served(client: httpx.Client) -> None:
    answer = client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "openapi.json" in answer.text


def test_the_root_leads_to_the_documentation_or_is_the_page(client: httpx.Client) -> None:
    answer = client.get("/")
    if answer.is_redirect:
        followed = client.get("/", follow_redirects=True)
        assert followed.status_code == 200
        assert followed.url.path == "/docs"
    else:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/html")


def check(document: Json, schema: Json, value: object) -> None:
    """Validate against a schema whose references lead into the document."""
    Draft202012Validator({**schema, "components": document["components"]}).validate(value)


ANSWERS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("post", "/classify", "", {"content": IMAGE}),
    ("post", "/classify", "", {"files": multipart(IMAGE, b"text", IMAGE)}),
    ("post", "/classify", "", {"json": {"images": [base64_of(IMAGE)] * 2}}),
    ("post", "/classify", "?top_k=0", {"content": IMAGE}),
    ("post", "/classify", "?model=unknown", {"content": IMAGE}),
    ("post", "/classify", "?url=https://example.com/", {}),
    ("post", "/classify", "", {"content": IMAGE[:60]}),
    ("post", "/classify", "", {"content": b"text"}),
    ("post", "/embed", "", {"content": IMAGE}),
    ("post", "/embed", "?normalize=true", {"files": multipart(IMAGE, b"text")}),
    ("post", "/embed", "?normalize=maybe", {"content": IMAGE}),
    ("get", "/embed", f"?image={base64url_of(IMAGE)}", {}),
    ("get", "/embed", "?image=!", {}),
    ("get", "/models", "", {}),
    ("get", "/models/{name}", "many", {}),
    ("get", "/models/{name}", "unknown", {}),
    ("get", "/livez", "", {}),
    ("get", "/readyz", "", {}),
    ("get", "/startupz", "", {}),
    ("get", "/healthz", "", {}),
]


@pytest.mark.parametrize("asked", ANSWERS)
def test_answers_fit_the_documented_schemas(
    client: httpx.Client, document: Json, asked: tuple[str, str, str, dict[str, Any]]
) -> None:
    method, path, rest, body = asked
    answer = client.request(method.upper(), path.replace("{name}", "") + rest, **body)
    documented = operation(document, method, path)["responses"][str(answer.status_code)]
    media_type = answer.headers["Content-Type"].partition(";")[0]
    schema = documented["content"][media_type]["schema"]
    assert schema
    check(document, schema, answer.json())


@pytest.mark.parametrize("rest", ["/classify?top_k=0", "/nowhere", "/models/unknown"])
def test_the_problem_schema_is_the_whole_problem(
    client: httpx.Client, document: Json, rest: str
) -> None:
    schema = document["components"]["schemas"]["Problem"]
    assert set(schema["properties"]) == PROBLEM_FIELDS == set(schema["required"])
    answer = client.request("POST" if "classify" in rest else "GET", rest, content=IMAGE)
    check(document, schema, answer.json())


def test_the_schemas_can_tell_a_wrong_answer(document: Json) -> None:
    """Schemas that let everything pass would make the tests above worthless."""
    for name in ("Classification", "EmbeddingAnswer", "Problem"):
        validator = Draft202012Validator(
            {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        )
        assert not validator.is_valid({})
        assert not validator.is_valid([])
