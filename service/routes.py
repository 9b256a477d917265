"""The endpoints: each reads its request, has it computed, and writes the answer."""

import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import RedirectResponse, Response

from service import answers, documentation, schemas
from service.answers import JSON, NPY, RAW, json_response
from service.errors import InvalidParameter, ModelNotFound
from service.inference import Inference, read_inference
from service.listing import describe
from service.negotiation import matches, preferred
from service.parameters import read_query
from service.parts import engine_of, parts_of

images = APIRouter()  # these need a key, where keys are configured: see also service.straight
listing = APIRouter()  # and these as well
common = APIRouter()  # on every port: the probes, and the way to the documentation
monitoring = APIRouter()  # on the admin port, where there is one

DEFAULT_TOP_K = 5
_BEARER = HTTPBearer(auto_error=False, description="A key of the server's list.")
_KEY_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key.")


async def require_key(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
    header: Annotated[str | None, Security(_KEY_HEADER)],
) -> None:
    """Refuse a request without a key of the list, before anything else of it is looked at."""
    keys = parts_of(request).keys
    assert keys is not None
    given = (bearer.credentials if bearer else None, header)
    request.state.trace.caller = keys.caller([key for key in given if key])


@images.post(
    "/classify",
    summary="Classify images",
    responses=documentation.CLASSIFY,
    openapi_extra=documentation.inference(schemas.ClassifyQuery, documentation.REQUEST_ID),
)
async def classify(request: Request) -> Response:
    """Return the most probable classes of each image, highest first."""
    query = read_query(schemas.ClassifyQuery, request)
    inference = await read_inference(request, query)
    with inference.model.lease():
        k = _checked_top_k(query.top_k, inference.model.manifest.architecture.num_classes)
        outcomes = await inference.outcomes()
        many = inference.intake.many
        return _encoded(
            inference, lambda: answers.classification(inference.model, outcomes, k, many=many)
        )


@images.post(
    "/embed",
    summary="Embed images",
    responses=documentation.EMBED,
    openapi_extra=documentation.inference(
        schemas.EmbedQuery, documentation.REQUEST_ID, documentation.IF_NONE_MATCH
    ),
)
async def post_embed(request: Request) -> Response:
    """Return the pooled pre-logits feature of each image: JSON, .npy or raw float32 by Accept."""
    query = read_query(schemas.EmbedQuery, request)
    inference = await read_inference(request, query)
    with inference.model.lease():
        return await _embed(inference, query)


@images.get(
    "/embed",
    summary="Embed one image",
    responses=documentation.EMBED,
    openapi_extra=documentation.inference(
        schemas.GetEmbedQuery, documentation.REQUEST_ID, documentation.IF_NONE_MATCH
    ),
)
async def get_embed(request: Request) -> Response:
    """Return the feature of the image at `url=`, in `image=` (base64url), or in the body.

    A body is a convenience for curl: HTTP gives bodies of GET no meaning, and proxies may drop it.
    """
    query = read_query(schemas.GetEmbedQuery, request)
    inference = await read_inference(request, query, query.image)
    with inference.model.lease():
        return await _embed(inference, query)


async def _embed(inference: Inference, query: schemas.EmbedQuery) -> Response:
    media_type = preferred(inference.request.headers.get("accept", JSON), (JSON, NPY, RAW))
    headers = {"ETag": await inference.etag(media_type, str(query.normalize)), "Vary": "Accept"}
    if matches(inference.request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    outcomes = await inference.outcomes()
    response = _encoded(
        inference,
        lambda: answers.embedding(
            inference.model,
            outcomes,
            media_type,
            normalize=query.normalize,
            many=inference.intake.many,
        ),
    )
    response.headers.update(headers)
    return response


@listing.get(
    "/models",
    summary="List models",
    responses={200: {"model": schemas.ModelList}, **documentation.LISTING},
)
async def list_models(request: Request) -> Response:
    """Return everything that is served, and what is configured but not served, with the reason."""
    directory = engine_of(request).directory
    content = schemas.ModelList(
        models=describe(directory), missing=directory.missing, stale=directory.stale
    )
    return json_response(content.model_dump())


@listing.get(
    "/models/{name}",
    summary="Describe a model",
    responses={200: {"model": schemas.ModelSummary}, **documentation.NO_SUCH_MODEL},
)
async def show_model(
    request: Request, name: Annotated[str, Path(description="The model's name.")]
) -> Response:
    """Return the loaded versions of one model."""
    for summary in describe(engine_of(request).directory):
        if summary.name == name:
            return json_response(summary.model_dump())
    raise ModelNotFound(f"No model {name!r:.80} is served.")


@common.get("/livez", summary="Liveness", responses=documentation.check("The device is silent."))
async def livez(request: Request) -> Response:
    """200 while the process can serve; 503 when the device leaves a canary unanswered."""
    return _health(engine_of(request).health.live())


@common.get(
    "/readyz",
    summary="Readiness",
    responses=documentation.check("A model is missing, or the server is draining."),
)
async def readyz(request: Request) -> Response:
    """200 when every configured model is verified and warm, and the server is not draining."""
    return _health(engine_of(request).health.ready())


@common.get("/startupz", summary="Start-up", responses=documentation.check("Models are loading."))
async def startupz(request: Request) -> Response:
    """200 once start-up has finished."""
    return _health(engine_of(request).health.startup())


@common.get("/healthz", summary="All checks", responses={200: {"model": schemas.HealthSummary}})
async def healthz(request: Request) -> Response:
    """Return the three checks in one document; always 200."""
    health = engine_of(request).health
    summary = schemas.HealthSummary(
        live=health.live(), ready=health.ready(), startup=health.startup()
    )
    return _fresh(json_response(summary.model_dump()))


@monitoring.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses=documentation.METRICS,
)
async def metrics(request: Request) -> Response:
    """Return the metrics as Prometheus text, or OpenMetrics when the Accept header asks for it."""
    text, content_type = await engine_of(request).exposition(request.headers.get("accept", ""))
    return _fresh(Response(text, headers={"Content-Type": content_type, "Vary": "Accept"}))


@common.get("/", include_in_schema=False)
async def root() -> Response:
    """Lead a person to the documentation."""
    return RedirectResponse("docs")


def _checked_top_k(top_k: int | None, classes: int) -> int:
    if top_k is None:
        return min(DEFAULT_TOP_K, classes)
    if top_k > classes:
        raise InvalidParameter(f"top_k={top_k}: allowed is 1 to {classes}, the number of classes")
    return top_k


def _encoded(inference: Inference, write: Callable[[], Response]) -> Response:
    """Write the answer, and observe the time that it took."""
    began_s = time.perf_counter()
    response = write()
    encode_s = time.perf_counter() - began_s
    inference.parts.pipeline.observe(inference.model, {"encode": encode_s})
    return response


def _health(health: schemas.Health) -> Response:
    return _fresh(json_response(health.model_dump(), 200 if health.ok else 503))


def _fresh(response: Response) -> Response:
    """Keep caches from answering for a server that may be dead."""
    response.headers["Cache-Control"] = "no-store"
    return response
