"""Locust's users: honest ones, who check their answers, and a hostile one beside them."""

import http.client
import itertools
import random
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from gevent.pool import Pool
from locust import FastHttpUser, between, task
from locust.contrib.fasthttp import ResponseContextManager

from loadtest.faults import embedding_fault, feature_fault, predictions_fault, similarity_fault
from loadtest.hostile import attacks, leave, send, upload_slowly
from loadtest.pictures import draw_pictures

SEED = 0
PICTURES = [picture.data for picture in draw_pictures(20, SEED)]
ATTACKS = attacks(SEED)
TIMEOUT_MS = 10_000
DEFAULT_TOP_K = 5
HEADERS = {"X-Request-Timeout-Ms": str(TIMEOUT_MS), "Content-Type": "application/octet-stream"}
RAW = {**HEADERS, "Accept": "application/octet-stream"}
PIECES, PAUSE_S = 10, 0.1  # of a slow upload


class ClassifyUser(FastHttpUser):
    """Sends one picture after another."""

    weight = 6
    wait_time = between(0.05, 0.25)

    @task
    def classify(self) -> None:
        """Ask for the default number of classes."""
        with self.client.post(
            "/classify",
            data=random.choice(PICTURES),  # noqa: S311  nothing secret
            headers=HEADERS,
            name="POST /classify",
            catch_response=True,
        ) as answer:
            _check(answer, lambda content: predictions_fault(content, DEFAULT_TOP_K))


class EmbedUser(FastHttpUser):
    """Embeds pictures, as JSON."""

    weight = 2
    wait_time = between(0.05, 0.25)

    @task
    def embed(self) -> None:
        """Ask for one feature of unit length."""
        with self.client.post(
            "/embed?normalize=true",
            data=random.choice(PICTURES),  # noqa: S311  nothing secret
            headers=HEADERS,
            name="POST /embed",
            catch_response=True,
        ) as answer:
            _check(answer, embedding_fault)


class FewShotUser(FastHttpUser):
    """Embeds a support set at once, each picture twice, and compares them all."""

    weight = 1
    wait_time = between(1, 2)
    shots = 5

    @task
    def burst(self) -> None:
        """Ask in parallel; equal pictures must be equal, whatever batches they rode in."""
        chosen = random.sample(range(len(PICTURES)), self.shots)
        order = [*chosen, *chosen]
        began_s = time.perf_counter()
        features = Pool(len(order)).map(self._embed, order)
        elapsed_ms = (time.perf_counter() - began_s) * 1e3
        whole = [feature for feature in features if feature is not None]
        complete = len(whole) == len(order)
        fault = similarity_fault(whole, order) if complete else "a picture failed"
        _report(self, "few-shot burst", elapsed_ms, fault)

    def _embed(self, index: int) -> bytes | None:
        with self.client.post(
            "/embed?normalize=true",
            data=PICTURES[index],
            headers=RAW,
            name="POST /embed (burst)",
            catch_response=True,
        ) as answer:
            content: bytes = answer.content
            return content if _check(answer, feature_fault) else None


class HostileUser(FastHttpUser):
    """Sends what must be refused as documented, slowly, or not to the end."""

    weight = 1
    wait_time = between(0.2, 1)

    def on_start(self) -> None:
        """Begin anywhere in the list, so that users do not march in step."""
        self._attacks = itertools.cycle(random.sample(ATTACKS, len(ATTACKS)))

    @task(6)
    def attack(self) -> None:
        """Send the next bad request and expect its status."""
        attack = next(self._attacks)
        self._timed(f"hostile: {attack.name}", partial(send, attack=attack))

    @task(1)
    def upload_slowly(self) -> None:
        """Send a good picture in pieces; it must be answered."""
        self._timed(
            "hostile: slow upload",
            partial(upload_slowly, picture=PICTURES[0], pieces=PIECES, pause_s=PAUSE_S),
        )

    @task(1)
    def leave(self) -> None:
        """Leave after half a picture; nothing is expected, but others must not notice."""
        self._timed("hostile: disconnect", partial(leave, picture=PICTURES[0]))

    def _timed(self, name: str, call: Callable[[http.client.HTTPConnection], str | None]) -> None:
        # Below Locust's client, which sends only whole and honest requests.
        connection = http.client.HTTPConnection(urlsplit(self.host or "").netloc, timeout=30)
        began_s = time.perf_counter()
        try:
            fault = call(connection)
        except (OSError, http.client.HTTPException) as error:
            fault = repr(error)
        finally:
            connection.close()
        _report(self, name, (time.perf_counter() - began_s) * 1e3, fault)


def _check(answer: ResponseContextManager, fault_of: Callable[[bytes], str | None]) -> bool:
    good = answer.status_code == 200
    fault = fault_of(answer.content) if good else f"status {answer.status_code}"
    if fault is not None:
        answer.failure(fault)
    return fault is None


def _report(user: FastHttpUser, name: str, elapsed_ms: float, fault: str | None) -> None:
    user.environment.events.request.fire(
        request_type="user",
        name=name,
        response_time=elapsed_ms,
        response_length=0,
        exception=None if fault is None else AssertionError(fault),
        context={},
    )
