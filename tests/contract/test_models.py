"""`GET /models` and `GET /models/{name}`: what is loaded."""

from urllib.parse import quote

import httpx
import pytest

from model_store.variants import MixerConfig
from tests.contract import wire
from tests.contract.asking import Json, assert_problem
from tests.contract.conftest import FEW, MANY, ODD
from tests.contract.pictures import bmp, picture
from tests.model_store.tiny import random_arrays
from tests.models import TINY

FACTS = {
    "version",
    "aliases",
    "variant",
    "parameters",
    "input_size",
    "classes",
    "embedding_dim",
    "dtype",
    "runtime",
    "device",
    "buckets",
    "state",
}


def listed(client: httpx.Client) -> dict[str, Json]:
    answer = client.get("/models")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    models: list[Json] = answer.json()["models"]
    assert len({model["name"] for model in models}) == len(models)
    return {model["name"]: model for model in models}


def test_every_served_model_is_listed_once(client: httpx.Client) -> None:
    assert set(listed(client)) == {"alpha", "many", ODD}


def test_every_served_version_is_listed_with_its_aliases(client: httpx.Client) -> None:
    versions = {each["version"]: each for each in listed(client)["alpha"]["versions"]}
    assert set(versions) == {"1", "2"}
    assert "staging" in versions["1"]["aliases"]
    assert "production" in versions["2"]["aliases"]
    assert "blue" in listed(client)["many"]["versions"][0]["aliases"]


def test_every_listed_alias_answers_as_the_version_that_has_it(client: httpx.Client) -> None:
    """`latest` of alpha is version 3, which is not served: it must not be claimed."""
    image = bmp(picture())
    for name, model in listed(client).items():
        for version in model["versions"]:
            for alias in version["aliases"]:
                query = {"model": f"{name}@{alias}"}
                answer = client.post("/classify", params=query, content=image)
                assert answer.json()["version"] == version["version"]
    assert all("latest" not in each["aliases"] for each in listed(client)["alpha"]["versions"])


@pytest.mark.parametrize(
    ("name", "config", "seed"), [("alpha", TINY, 2), ("many", MANY, 4), (ODD, FEW, 5)]
)
def test_each_version_states_its_facts(
    client: httpx.Client, name: str, config: MixerConfig, seed: int
) -> None:
    size = sum(array.size for array in random_arrays(config, seed).values())
    for version in listed(client)[name]["versions"]:
        assert set(version) >= FACTS
        assert version["parameters"] == size
        assert version["input_size"] == config.image_size
        assert version["classes"] == config.num_classes
        assert version["embedding_dim"] == config.width
        assert version["dtype"] == "float32"
        assert version["state"] == "ready"
        for field in ("variant", "runtime", "device"):
            assert isinstance(version[field], str)
            assert version[field]


def test_each_bucket_states_its_measured_latency(client: httpx.Client) -> None:
    for model in listed(client).values():
        for version in model["versions"]:
            assert [bucket["images"] for bucket in version["buckets"]] == [1, 4]
            assert all(bucket["latency_ms"] > 0 for bucket in version["buckets"])


@pytest.mark.parametrize("name", ["alpha", "many", ODD])
def test_one_model_is_what_the_list_says(client: httpx.Client, name: str) -> None:
    answer = client.get(f"/models/{name}")
    assert answer.status_code == 200, answer.text
    assert answer.json() == listed(client)[name]


def test_percent_encoding_changes_nothing(client: httpx.Client) -> None:
    encoded = "".join(f"%{byte:02X}" for byte in ODD.encode())
    assert client.get(f"/models/{encoded}").json() == listed(client)[ODD]


@pytest.mark.parametrize(
    "name",
    [
        "unknown",
        "stored",
        "ALPHA",
        "alpha ",
        "..",
        "../../etc/passwd",
        "alpha/../many",
        "\u03b1lpha",
        "alpha\0",
        "%",
        "alpha?",
        "a" * 5000,
        "' OR 1=1 --",
        "<script>",
    ],
)
def test_other_names_are_not_found(client: httpx.Client, name: str) -> None:
    with wire.connect(client) as connection:  # httpx would resolve the dots
        connection.send(wire.request("GET", f"/models/{quote(name, safe='')}"))
        reply = connection.reply()
    assert reply is not None
    answer = httpx.Response(reply.status, headers=reply.headers, content=reply.body)
    code = "model_not_found" if "/" not in name else answer.json()["code"]
    problem = assert_problem(answer, 404, code)
    assert code in ("model_not_found", "not_found")
    assert len(problem["detail"]) < 1000
