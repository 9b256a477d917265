"""What an instrument remembers of its labels, and what it forgets with them."""

from prometheus_client import CollectorRegistry, Counter, generate_latest

from service.metrics import Metrics, Remembering


def made() -> tuple[Remembering, CollectorRegistry]:
    registry = CollectorRegistry()
    return Remembering(Counter("seen", "Seen.", ("colour", "shape"), registry=registry)), registry


def test_the_same_labels_are_the_same_child_whatever_their_order() -> None:
    instrument, registry = made()
    instrument.labels(colour="red", shape="round").inc()
    instrument.labels(shape="round", colour="red").inc()
    instrument.labels(colour="round", shape="red").inc()
    assert registry.get_sample_value("seen_total", {"colour": "red", "shape": "round"}) == 2
    assert registry.get_sample_value("seen_total", {"colour": "round", "shape": "red"}) == 1


def test_what_is_counted_after_a_removal_is_shown_again() -> None:
    instrument, registry = made()
    instrument.labels(colour="red", shape="round").inc()
    instrument.labels(colour="blue", shape="round").inc()
    instrument.remove_by_labels({"colour": "red"})
    instrument.labels(colour="red", shape="round").inc(4)
    instrument.labels(colour="blue", shape="round").inc()
    assert registry.get_sample_value("seen_total", {"colour": "red", "shape": "round"}) == 4
    assert registry.get_sample_value("seen_total", {"colour": "blue", "shape": "round"}) == 2


def test_a_model_that_comes_back_begins_at_zero() -> None:
    metrics, labels = Metrics(), {"model": "tiny", "version": "1"}
    metrics.stage_duration_s.labels(**labels, stage="decode").observe(1.0)
    metrics.forget(labels)
    assert b'model="tiny"' not in generate_latest(metrics.registry)
    metrics.stage_duration_s.labels(**labels, stage="decode").observe(2.0)
    of_stage = {**labels, "stage": "decode"}
    total_s = metrics.registry.get_sample_value("mixer_stage_duration_seconds_sum", of_stage)
    assert total_s == 2.0
