"""`POST /classify`: the shape of its answer, its scores, and `top_k`."""

import httpx
import numpy as np
import pytest

from tests.contract.asking import Json, assert_problem, multipart, scores
from tests.contract.conftest import FEW, MANY, ODD
from tests.contract.pictures import encoded, picture
from tests.model_store.reference_forward import forward
from tests.model_store.tiny import random_arrays
from tests.models import TINY, TINY_LABELS

IMAGE = encoded(picture(), "PNG")


def classify(client: httpx.Client, data: bytes = IMAGE, **params: object) -> httpx.Response:
    return client.post("/classify", content=data, params={k: str(v) for k, v in params.items()})


def test_an_answer_has_exactly_the_fields_of_the_contract(client: httpx.Client) -> None:
    answer = classify(client)
    assert answer.headers["Content-Type"] == "application/json"
    document: Json = answer.json()
    assert set(document) == {"model", "version", "predictions"}
    assert document["model"] == "alpha"
    assert document["version"] == "2"
    assert len(document["predictions"]) == 5
    for prediction in document["predictions"]:
        assert set(prediction) == {"class_id", "label", "score"}
        assert type(prediction["class_id"]) is int
        assert type(prediction["score"]) is float
        assert prediction["label"] == TINY_LABELS[prediction["class_id"]]


@pytest.mark.parametrize("seed", range(6))
def test_scores_are_the_softmax_of_all_classes_highest_first(
    client: httpx.Client, seed: int
) -> None:
    answer = classify(client, encoded(picture(seed), "PNG"), top_k=6)
    values = [entry["score"] for entry in answer.json()["predictions"]]
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1, abs=1e-5)
    assert set(scores(answer)) == set(range(6))


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_what_the_network_of_the_paper_computes(client: httpx.Client, seed: int) -> None:
    """A picture of the input's own size passes unchanged; the rest is mathematics."""
    image = picture(seed, size=(12, 12))
    inputs = np.asarray(image)[None] / 127.5 - 1
    logits, _ = forward(inputs, random_arrays(TINY, 2), gelu="tanh")
    exact = np.exp(logits[0]) / np.exp(logits[0]).sum()
    answer = scores(classify(client, encoded(image, "PNG"), top_k=6))
    assert [answer[class_id] for class_id in range(6)] == pytest.approx(list(exact), abs=1e-4)


@pytest.mark.parametrize("top_k", range(1, 7))
def test_top_k_cuts_the_list(client: httpx.Client, top_k: int) -> None:
    whole = classify(client, top_k=6).json()["predictions"]
    assert classify(client, top_k=top_k).json()["predictions"] == whole[:top_k]


@pytest.mark.parametrize(
    "top_k", ["0", "-1", "7", "99999", "9" * 400, "1.5", "two", "", "1e0", "0x1", "nan", "true"]
)
def test_other_values_of_top_k_are_invalid(client: httpx.Client, top_k: str) -> None:
    problem = assert_problem(classify(client, top_k=top_k), 422, "invalid_parameter")
    assert "top_k" in problem["detail"]


def test_top_k_twice_is_invalid(client: httpx.Client) -> None:
    answer = client.post("/classify?top_k=1&top_k=2", content=IMAGE)
    assert_problem(answer, 422, "invalid_parameter")


@pytest.mark.parametrize(("model", "classes"), [("many", 9), (ODD, 3), ("alpha", 6)])
def test_the_bound_of_top_k_is_the_models_own(
    client: httpx.Client, model: str, classes: int
) -> None:
    assert len(scores(classify(client, model=model, top_k=classes))) == classes
    beyond = classify(client, model=model, top_k=classes + 1)
    assert_problem(beyond, 422, "invalid_parameter")


def test_the_default_top_k_suits_a_model_of_three_classes(client: httpx.Client) -> None:
    assert len(scores(classify(client, model=ODD))) == 3


def test_top_k_holds_for_each_of_several_images(client: httpx.Client) -> None:
    files = multipart(IMAGE, IMAGE, IMAGE)
    answer = client.post("/classify", params={"top_k": 2}, files=files)
    lengths = [len(result["predictions"]) for result in answer.json()["results"]]
    assert lengths == [2, 2, 2]


@pytest.mark.parametrize(
    ("reference", "model", "version"),
    [
        ("alpha", "alpha", "2"),
        ("alpha@2", "alpha", "2"),
        ("alpha@1", "alpha", "1"),
        ("alpha@production", "alpha", "2"),
        ("alpha@staging", "alpha", "1"),
        ("many", "many", "1"),
        ("many@1", "many", "1"),
        ("many@blue", "many", "1"),
        ("many@latest", "many", "1"),
        (ODD, ODD, "1"),
    ],
)
def test_a_reference_finds_its_model(
    client: httpx.Client, reference: str, model: str, version: str
) -> None:
    document = classify(client, model=reference).json()
    assert (document["model"], document["version"]) == (model, version)
    assert (
        document["predictions"]
        == classify(client, model=f"{model}@{version}").json()["predictions"]
    )


def test_no_reference_means_the_default_model(client: httpx.Client) -> None:
    assert classify(client).json() == classify(client, model="alpha@2").json()


@pytest.mark.parametrize(
    "reference",
    [
        "unknown",
        "alpha@3",  # in the store, not served
        "stored",
        "alpha@9999999999999999999",
        "alpha@0",
        "alpha@01",
        "alpha@nowhere",
        "alpha@",
        "@1",
        "ALPHA",
        "alpha@1@1",
        "../alpha",
        "alpha/../alpha",
        "alpha\0",
        "\u03b1lpha",
        "a" * 5000,
        "",
    ],
)
def test_unknown_references_are_not_found(client: httpx.Client, reference: str) -> None:
    problem = assert_problem(classify(client, model=reference), 404, "model_not_found")
    assert len(problem["detail"]) < 1000


def test_models_and_versions_answer_differently(client: httpx.Client) -> None:
    references = ["alpha@1", "alpha@2", "many", ODD]
    answers = [scores(classify(client, model=name, top_k=3)) for name in references]
    assert all(a != b for at, a in enumerate(answers) for b in answers[:at])


def test_side_by_side_each_model_computes_its_own_network(client: httpx.Client) -> None:
    image = picture(5, size=(12, 12))
    inputs = np.asarray(image)[None] / 127.5 - 1
    for name, config, seed in [("many", MANY, 4), (ODD, FEW, 5)]:
        logits, _ = forward(inputs, random_arrays(config, seed), gelu="tanh")
        exact = np.exp(logits[0]) / np.exp(logits[0]).sum()
        answer = scores(classify(client, encoded(image, "PNG"), model=name, top_k=len(exact)))
        found = [answer[class_id] for class_id in range(len(exact))]
        assert found == pytest.approx(list(exact), abs=1e-4)


@pytest.mark.parametrize("name", ["topk", "top-k", "Top_K", "normalize", "image", "x"])
def test_unknown_parameters_are_invalid(client: httpx.Client, name: str) -> None:
    problem = assert_problem(
        client.post("/classify", params={name: "1"}, content=IMAGE), 422, "invalid_parameter"
    )
    assert name in problem["detail"]


def test_percent_encoding_changes_nothing(client: httpx.Client) -> None:
    plain = classify(client, model="alpha@1").json()
    for query in ("model=alpha%401", "model=alpha@1", "model=%61lpha%40%31", "%6dodel=alpha@1"):
        assert client.post(f"/classify?{query}", content=IMAGE).json() == plain
