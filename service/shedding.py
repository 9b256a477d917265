"""Load that is refused before the application hears of it: the most frequent answer, the cheapest.

Beyond its capacity a server refuses more than it answers, on the cores that compute the answers. A
task and the application take a quarter more than a refusal takes here.

Request → uvicorn's parser → Protocol → refused, where there is no room for an image
                                      → else the application
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from service.answers import problem
from service.errors import DeadlineUnreachable, Overloaded, ServiceError
from service.inference import Head, has_long_body, read_head
from service.observe import Trace, report
from service.parameters import read_query
from service.parts import Parts
from service.schemas import ClassifyQuery, EmbedQuery, ModelQuery

QUERIES: dict[str, type[ModelQuery]] = {"/classify": ClassifyQuery, "/embed": EmbedQuery}


def refusal(parts: Parts, scope: Scope) -> Response | None:
    """Return the answer to a request that is refused for load alone, counted and logged.

    None leaves the request to the application, with what was seen of it in its state. There it is
    judged where it was not here: a key must be seen first, the body is short, or another process
    knows the load.
    """
    schema = QUERIES.get(scope["path"])
    if schema is None or scope["method"] != "POST" or parts.keys or parts.engine.health.draining:
        return None
    request = Request(scope)
    if not has_long_body(request):
        return None
    try:
        head = read_head(request, parts, read_query(schema, request))
        preparation_s = parts.pipeline.decoders.backlog_s
        judged = head.model.check(1, head.deadline, preparation_s=preparation_s)
        request.scope["state"]["head"] = Head(head.model, head.deadline, judged)
    except (Overloaded, DeadlineUnreachable) as error:
        return _refused(parts, request, error)
    except ServiceError:
        pass  # for a reason of its own
    return None


def _refused(parts: Parts, request: Request, error: ServiceError) -> Response:
    trace, metrics = Trace.of(request.headers), parts.engine.metrics
    trace.status = int(error.status)
    metrics.rejected.labels(reason=error.code).inc()
    report(metrics, request.method, request.scope["path"], trace)
    return problem(error, trace.request_id, trace.headers())
