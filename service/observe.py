"""Around every request: its id, its timing headers, its metrics, and one log line."""

import logging
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.answers import problem
from service.errors import InternalError
from service.metrics import RequestMetrics

log = logging.getLogger("mixer.request")

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
CLIENT_CLOSED_REQUEST = 499  # nginx's code for a caller who left; it is logged, never sent


@dataclass
class Trace:
    """What is known of one request while it runs; routes add stages, in seconds, and `caller`."""

    request_id: str
    began_s: float = field(default_factory=time.perf_counter)
    stages_s: dict[str, float] = field(default_factory=dict)
    batch: str | None = None
    caller: str | None = None
    status: int = CLIENT_CLOSED_REQUEST

    @classmethod
    def of(cls, headers: Headers) -> "Trace":
        """Begin the trace of a request with these headers."""
        return cls(request_id(headers.get("x-request-id")))

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request began."""
        return time.perf_counter() - self.began_s

    def server_timing(self) -> str:
        """Return the `Server-Timing` header: durations in milliseconds, and the batch."""
        stages = {**self.stages_s, "total": self.elapsed_s}
        entries = [f"{name};dur={seconds * 1e3:.2f}" for name, seconds in stages.items()]
        if self.batch is not None:
            entries.append(f'batch;desc="{self.batch}"')
        return ", ".join(entries)

    def headers(self) -> dict[str, str]:
        """Return what every answer tells of its request."""
        return {"X-Request-ID": self.request_id, "Server-Timing": self.server_timing()}


class ObserveMiddleware:
    """ASGI middleware that makes a `Trace` (in `request.state.trace`) and reports it at the end."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer 500 for a bug, with its traceback in the log alone."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = Trace.of(Headers(scope=scope))
        scope.setdefault("state", {})["trace"] = trace
        observed = self._sender(trace, send)
        try:
            await self._app(scope, receive, observed)
        except ClientDisconnect:
            pass  # nobody is left to answer
        except Exception:
            log.exception("bug in request %s", trace.request_id)
            if trace.status != CLIENT_CLOSED_REQUEST:
                raise  # the answer has begun: cutting the connection is all that is left
            answer = problem(InternalError("The server failed on this request."), trace.request_id)
            await answer(scope, receive, observed)
        finally:
            # The route's template, never the path: label values must stay bounded.
            endpoint = getattr(scope.get("route"), "path", "unmatched")
            report(self._metrics, scope["method"], endpoint, trace)

    def _sender(self, trace: Trace, send: Send) -> Callable[[Message], Awaitable[None]]:
        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                trace.status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in trace.headers().items():
                    headers.append(name, value)
            await send(message)

        return observed


def report(metrics: RequestMetrics, method: str, endpoint: str, trace: Trace) -> None:
    """Count a request that was answered, and write its log line."""
    metrics.requests.labels(endpoint=endpoint, code=str(trace.status)).inc()
    metrics.request_duration_s.labels(endpoint=endpoint).observe(trace.elapsed_s)
    log.info(
        "%s %s %d %.1f ms id=%s%s",
        method,
        endpoint,
        trace.status,
        trace.elapsed_s * 1e3,
        trace.request_id,
        "" if trace.caller is None else f" key={trace.caller}",
    )


def request_id(given: str | None) -> str:
    """Return the caller's id where it is printable and short, else a new one."""
    if given is not None and REQUEST_ID.fullmatch(given):
        return given
    return f"{random.getrandbits(128):032x}"
