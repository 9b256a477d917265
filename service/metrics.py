"""Every metric, declared once: name, unit, labels and buckets. A leaf: it imports no other part."""

from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

LATENCY_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
MODEL = ("model", "version")


class Instrument(Protocol):
    """A counter (`inc`) or a histogram (`observe`), one of each for any labels."""

    def labels(self, **labels: str) -> Any:
        """Return the one with these labels."""


class RequestMetrics(Protocol):
    """The metrics that the process of a request writes; see `Metrics`."""

    @property
    def requests(self) -> Instrument:
        """Requests answered."""

    @property
    def request_duration_s(self) -> Instrument:
        """What they took."""

    @property
    def stage_duration_s(self) -> Instrument:
        """What each stage took."""

    @property
    def rejected(self) -> Instrument:
        """Requests refused for load or time."""


class Remembering:
    """An instrument that finds its labels' children by itself, once each.

    prometheus_client sorts, checks and converts the labels at every call, which takes longer than
    to count does.
    """

    def __init__(self, metric: Counter | Histogram) -> None:
        self._metric = metric
        self._children: dict[tuple[tuple[str, str], ...], Any] = {}

    def labels(self, **labels: str) -> Any:
        """Return the one with these labels."""
        key = tuple(labels.items())
        if (child := self._children.get(key)) is None:
            child = self._children[key] = self._metric.labels(**labels)
        return child

    def remove_by_labels(self, labels: dict[str, str]) -> None:
        """Drop all with these labels among theirs."""
        self._metric.remove_by_labels(labels)
        self._children.clear()  # some of which would be written and never shown


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Remembering(
            Counter(
                "mixer_requests",
                "Requests answered, by endpoint and HTTP status.",
                ("endpoint", "code"),
                registry=registry,
            )
        )
        self.request_duration_s = Remembering(
            Histogram(
                "mixer_request_duration_seconds",
                "From the first byte of a request to the start of its answer.",
                ("endpoint",),
                buckets=LATENCY_BUCKETS_S,
                registry=registry,
            )
        )
        self.stage_duration_s = Remembering(
            Histogram(
                "mixer_stage_duration_seconds",
                "Time of one image in one stage: decode, queue, device or encode.",
                (*MODEL, "stage"),
                buckets=LATENCY_BUCKETS_S,
                registry=registry,
            )
        )
        self.batch_images = Remembering(
            Histogram(
                "mixer_batch_images",
                "Real images in a batch, without padding.",
                MODEL,
                buckets=BATCH_BUCKETS,
                registry=registry,
            )
        )
        self.batch_padding_images = Remembering(
            Counter(
                "mixer_batch_padding_images",
                "Padding computed to fill batches up to their bucket.",
                MODEL,
                registry=registry,
            )
        )
        self.queue_images = Gauge(
            "mixer_queue_images", "Images waiting for the device.", MODEL, registry=registry
        )
        self.backlog_s = Gauge(
            "mixer_backlog_seconds", "Queued work in device seconds.", MODEL, registry=registry
        )
        self.rejected = Remembering(
            Counter(
                "mixer_rejected",
                "Requests refused for load or time, by error code.",
                ("reason",),
                registry=registry,
            )
        )
        self.capacity_images_per_s = Gauge(
            "mixer_capacity_images_per_second",
            "Best throughput over the measured bucket latencies.",
            MODEL,
            registry=registry,
        )
        self.compilations = Counter(
            "mixer_compilations",
            "Programs compiled while starting or by a served model; must not move after ready.",
            registry=registry,
        )
        self.reload_compilations = Counter(
            "mixer_reload_compilations",
            "Programs compiled after the start for versions that did not serve yet.",
            registry=registry,
        )
        self.stale_references = Gauge(
            "mixer_stale_references",
            "Configured references whose version in the store is not served; an older one is.",
            registry=registry,
        )
        self.model_info = Gauge(
            "mixer_model_info",
            "1 for each loaded model version; its facts are in the labels.",
            (*MODEL, "dtype", "runtime", "device"),
            registry=registry,
        )
        self.build_info = Info("mixer_build", "Versions of the running code.", registry=registry)
        self.ready = Gauge("mixer_ready", "1 while /readyz answers 200, else 0.", registry=registry)
        self.device_alive = Gauge(
            "mixer_device_alive",
            "1 while the device answers its canary and /livez 200, else 0.",
            registry=registry,
        )

    def forget(self, labels: dict[str, str]) -> None:
        """Drop every series of a model version that has left, given by its labels."""
        for gauge in (self.queue_images, self.backlog_s):
            # A child is in a cycle with its function, which would keep the model until the garbage
            # collector comes by.
            gauge.labels(**labels).set_function(float)
        for metric in (
            self.stage_duration_s,
            self.batch_images,
            self.batch_padding_images,
            self.queue_images,
            self.backlog_s,
            self.capacity_images_per_s,
            self.model_info,
        ):
            metric.remove_by_labels(labels)
