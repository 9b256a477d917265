"""`GET /metrics`: names, types, labels, and what moves when."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from service.curve import LatencyCurve
from tests.contract.asking import multipart
from tests.contract.holding import eventually, gate, slowed
from tests.contract.metering import OPENMETRICS, Meter, families, open_families, samples
from tests.contract.pictures import encoded, picture
from tests.service.live import LiveServer

IMAGE = encoded(picture(), "PNG")

# A counter's family is named without its `_total`.
TYPES = {
    "mixer_requests": "counter",
    "mixer_request_duration_seconds": "histogram",
    "mixer_stage_duration_seconds": "histogram",
    "mixer_batch_images": "histogram",
    "mixer_batch_padding_images": "counter",
    "mixer_queue_images": "gauge",
    "mixer_backlog_seconds": "gauge",
    "mixer_rejected": "counter",
    "mixer_capacity_images_per_second": "gauge",
    "mixer_compilations": "counter",
    "mixer_model_info": "gauge",
    "mixer_build_info": "gauge",
    "mixer_ready": "gauge",
    "mixer_device_alive": "gauge",
}
OF_A_MODEL = {
    "mixer_stage_duration_seconds": {"model", "version", "stage"},
    "mixer_batch_images": {"model", "version"},
    "mixer_batch_padding_images": {"model", "version"},
    "mixer_queue_images": {"model", "version"},
    "mixer_backlog_seconds": {"model", "version"},
    "mixer_capacity_images_per_second": {"model", "version"},
}
BOUNDED = {"model", "version", "endpoint", "code", "stage", "reason", "le"}


def sample(client: httpx.Client, name: str, **labels: str) -> float:
    return samples(client)[name, frozenset(labels.items())]


def test_every_metric_of_the_contract_is_there_with_its_type(client: httpx.Client) -> None:
    found = families(client)
    assert {name: found[name].type for name in TYPES if name in found} == TYPES
    assert all(name.startswith("mixer_") for name in found)
    assert all(family.documentation for family in found.values())


def test_labels_are_those_of_the_contract(client: httpx.Client) -> None:
    client.post("/embed", content=IMAGE)
    for name, family in families(client).items():
        if not name.endswith("_info"):
            assert {label for each in family.samples for label in each.labels} <= BOUNDED, name
    for name, labels in OF_A_MODEL.items():
        found = {frozenset(each.labels) - {"le"} for each in families(client)[name].samples}
        assert found <= {frozenset(labels), frozenset(labels - {"model", "version"})}, name


def test_openmetrics_when_asked_for(client: httpx.Client) -> None:
    client.post("/classify", content=IMAGE)
    answer = client.get("/metrics", headers={"Accept": OPENMETRICS})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0")
    assert answer.text.endswith("# EOF\n")
    found = open_families(client)
    names = {name.removesuffix("_info") for name in found}
    assert {name.removesuffix("_info") for name in TYPES} <= names


@pytest.mark.parametrize("accept", ["*/*", "text/plain", "text/html", "application/json", ""])
def test_prometheus_text_otherwise(client: httpx.Client, accept: str) -> None:
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_as_prometheus_asks_it_gets_openmetrics(client: httpx.Client) -> None:
    accept = (
        "application/openmetrics-text;version=1.0.0;q=0.5,"
        "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    )
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")


@pytest.mark.parametrize(
    ("method", "path", "endpoint", "code"),
    [
        ("POST", "/classify", "/classify", "200"),
        ("POST", "/embed", "/embed", "200"),
        ("GET", "/embed", "/embed", "200"),
        ("POST", "/classify?top_k=0", "/classify", "422"),
        ("POST", "/embed?model=unknown", "/embed", "404"),
        ("GET", "/models/many", "/models/{name}", "200"),
        ("GET", "/models/unknown", "/models/{name}", "404"),
        ("GET", "/livez", "/livez", "200"),
    ],
)
def test_a_request_is_counted_once_under_its_endpoint_and_code(
    client: httpx.Client, method: str, path: str, endpoint: str, code: str
) -> None:
    meter = Meter(client)
    client.request(method, path, content=IMAGE)
    assert meter.moved("mixer_requests_total", endpoint=endpoint, code=code) == 1
    assert meter.moved("mixer_requests_total", endpoint=endpoint) == 1
    assert meter.moved("mixer_request_duration_seconds_count", endpoint=endpoint) == 1
    assert meter.moved("mixer_request_duration_seconds_sum", endpoint=endpoint) > 0


def test_labels_stay_bounded_whatever_clients_send(client: httpx.Client) -> None:
    def send(seed: int) -> None:
        client.get(f"/unbounded-{seed}")
        client.get(f"/models/unbounded-{seed}")
        client.post(f"/classify?model=unbounded-{seed}", content=IMAGE)
        client.request(f"UNBOUNDED{seed}", "/livez")

    send(0)
    before = set(samples(client))
    for seed in range(1, 6):
        send(seed)
    assert set(samples(client)) == before
    assert "unbounded" not in client.get("/metrics").text.lower()


def test_each_stage_is_timed_for_each_image(client: httpx.Client) -> None:
    client.post("/embed", content=IMAGE)
    meter = Meter(client)
    client.post("/embed", files=multipart(IMAGE, IMAGE, IMAGE))
    for stage in ("decode", "queue", "device"):
        assert meter.moved("mixer_stage_duration_seconds_count", stage=stage) == 3, stage
    assert meter.moved("mixer_stage_duration_seconds_count", stage="encode") >= 1
    stages = {
        each.labels["stage"] for each in families(client)["mixer_stage_duration_seconds"].samples
    }
    assert stages == {"decode", "queue", "device", "encode"}


@pytest.mark.parametrize(("images", "padding"), [(1, 0), (2, 2), (3, 1), (4, 0)])
def test_a_batch_counts_its_real_images_and_its_padding(
    live: LiveServer, monkeypatch: pytest.MonkeyPatch, images: int, padding: int
) -> None:
    client, model = live.client, live.engine.catalog.served[0]
    runner, batcher = model.runner, model.batcher
    # Where four take as long as one, no split is faster than a batch that is part empty.
    monkeypatch.setattr(runner, "curve", LatencyCurve({1: 1.0, 4: 1.0}, pads=True))
    of_model = {"model": "alpha", "version": "2"}
    with ThreadPoolExecutor(2) as pool, gate(live) as held:
        first = pool.submit(client.post, "/classify", content=IMAGE)
        held.wait_entered()
        # What comes while the device is busy rides together.
        several = pool.submit(client.post, "/classify", files=multipart(*[IMAGE] * images))
        if images < 4:  # a full batch is handed over at once
            eventually(lambda: sample(client, "mixer_queue_images", **of_model) == images)
        else:
            eventually(lambda: len(batcher._in_runner) == 2)  # which no metric tells
        meter = Meter(client)
        held.open()
        assert [first.result().status_code, several.result().status_code] == [200, 200]
    assert meter.moved("mixer_batch_images_sum", **of_model) == 1 + images
    assert meter.moved("mixer_batch_images_count", **of_model) == 2
    assert meter.moved("mixer_batch_padding_images_total", **of_model) == padding
    assert meter.moved("mixer_batch_images_sum") == 1 + images


def test_bad_images_reach_no_batch(client: httpx.Client) -> None:
    meter = Meter(client)
    client.post("/classify", files=multipart(IMAGE, b"text", IMAGE))
    client.post("/classify", content=b"text")
    assert meter.moved("mixer_batch_images_sum") == 2


def test_nothing_is_compiled_after_ready(client: httpx.Client) -> None:
    meter = Meter(client)
    assert sample(client, "mixer_compilations_total") >= 8
    for count in range(1, 10):
        sizes = [(7 + 31 * at, 5 + 17 * count) for at in range(count)]
        files = [encoded(picture(at, size), "PNG") for at, size in enumerate(sizes)]
        for model in ("alpha", "alpha@1", "many"):
            for path in ("/classify", "/embed?normalize=true"):
                query = {"model": model, **dict(httpx.URL(path).params)}
                answer = client.post(httpx.URL(path).path, params=query, files=multipart(*files))
                assert answer.status_code == 200
    assert meter.moved("mixer_compilations_total") == 0


def test_queue_and_backlog_rise_with_the_work_and_fall_to_zero(tight: LiveServer) -> None:
    client = tight.client

    def reading(name: str) -> float:
        return sample(client, name, model="alpha", version="2")

    with ThreadPoolExecutor(4) as pool, gate(tight) as held:
        first = pool.submit(client.post, "/classify", content=IMAGE)
        held.wait_entered()
        # Two of these are prefetched as a full batch; the third waits.
        rest = [pool.submit(client.post, "/classify", content=IMAGE) for _ in range(3)]
        eventually(lambda: reading("mixer_queue_images") == 1)
        assert reading("mixer_backlog_seconds") > 0
        held.open()
        assert [each.result().status_code for each in (first, *rest)] == [200] * 4
    assert reading("mixer_queue_images") == 0
    assert reading("mixer_backlog_seconds") == 0


def test_refusals_are_counted_by_reason(tight: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    client, meter = tight.client, Meter(tight.client)
    runner = tight.engine.catalog.served[0].runner
    monkeypatch.setattr(runner, "curve", slowed(runner.curve))
    client.post("/classify", content=IMAGE, headers={"X-Request-Timeout-Ms": "60000"})
    assert meter.moved("mixer_rejected_total", reason="deadline_unreachable") == 1
    monkeypatch.undo()
    with ThreadPoolExecutor(8) as pool, gate(tight) as held:
        sent = [pool.submit(client.post, "/classify", content=IMAGE) for _ in range(8)]
        eventually(lambda: meter.moved("mixer_rejected_total", reason="overloaded") == 4)
        held.open()
    assert sorted(each.result().status_code for each in sent) == [200] * 4 + [429] * 4
    assert meter.moved("mixer_rejected_total") == 5


def test_capacity_is_what_the_measured_latencies_allow(client: httpx.Client) -> None:
    for model in client.get("/models").json()["models"]:
        for version in model["versions"]:
            best = max(b["images"] / b["latency_ms"] * 1e3 for b in version["buckets"])
            capacity = sample(
                client,
                "mixer_capacity_images_per_second",
                model=model["name"],
                version=version["version"],
            )
            # Latencies are shown rounded.
            assert capacity == pytest.approx(best, rel=0.02)


def test_information_is_labels_of_ones(client: httpx.Client) -> None:
    found = families(client)
    models = found["mixer_model_info"].samples
    named = {(each.labels["model"], each.labels["version"]) for each in models}
    assert {("alpha", "1"), ("alpha", "2"), ("many", "1")} <= named
    for each in (*models, *found["mixer_build_info"].samples):
        assert each.value == 1
    assert sample(client, "mixer_ready") == 1
    assert sample(client, "mixer_device_alive") == 1
