"""Every message and every error arrives as it was sent."""

from typing import get_args

import pytest

from service.errors import NotReady, Overloaded, ServiceError
from service.frontends import messages
from service.frontends.messages import Message, Observe, Refused, State, decode, encode

SENT: list[Message] = [
    messages.Admit(call=1, model=2, images=3, deadline=4.5, preparation_s=0.25),
    messages.Submit(call=1, permit=2, offset=4096, deadline=12345.678901),
    messages.Cancel(call=7),
    messages.Release(permit=8),
    messages.LetGo(model=9),
    messages.Draining(),
    messages.Expose(call=3, accept="text/plain; version=0.0.4\n"),
    State(
        served=[{"key": 1, "name": "ünïcode", "summary": {"a": [1, 2]}}],
        missing={"x": "loading"},
        stale={},
        illness={"device": "silent"},
        started=True,
    ),
    messages.Admitted(call=2**53 - 1),
    messages.Answered(call=1, queue_s=0.1, device_s=0.2, batch_images=3, bucket=4),
    messages.Exposed(call=1, text="a\nb\n", content_type="text/plain"),
    Refused(call=1, code="overloaded", detail="full", retry_after_s=3),
]


@pytest.mark.parametrize("message", SENT, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1  # the one that ends it
    assert line.endswith(b"\n")
    assert decode(line) == message


def test_observations_arrive_in_their_order() -> None:
    sent = Observe([("requests", {"code": "200"}, 1.0), ("rejected", {"reason": "x"}, 1.0)])
    arrived = decode(encode(sent))
    assert isinstance(arrived, Observe)
    assert [tuple(each) for each in arrived.observations] == sent.observations


def test_every_kind_is_tried() -> None:
    assert {type(message) for message in SENT} | {Observe} == set(get_args(Message))


@pytest.mark.parametrize("kind", ServiceError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_an_error_arrives_as_it_was_raised(kind: type[ServiceError]) -> None:
    error = Overloaded("no", retry_after_s=7) if kind is Overloaded else kind("no")
    arrived = decode(encode(Refused.of(3, error)))
    assert isinstance(arrived, Refused)
    found = arrived.error()
    assert (type(found), found.detail, found.headers) == (kind, "no", error.headers)


def test_a_refusal_knows_its_call() -> None:
    assert Refused.of(5, NotReady("later")).call == 5
