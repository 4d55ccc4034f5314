"""The routes beside inference: models, health, metrics, thresholds, debug pages and the API's description.

`create_app` gets everything it needs; a route looks one thing up and shapes the answer.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from dynamo.frontend import openapi, views
from dynamo.frontend.asking import Tokens
from dynamo.frontend.calls import check_content_type
from dynamo.frontend.fleet import Fleet, Listed
from dynamo.frontend.front import INFERENCE_ROUTES, Front
from dynamo.frontend.responses import count_input_tokens
from dynamo.wire.errors import InvalidRequest, MethodNotAllowed, NotFound, RequestError, error_body

OWNER = "nvidia"


@dataclass(frozen=True, slots=True)
class AppDeps:
    """What the routes read and change."""

    fleet: Fleet
    front: Front
    metrics: Callable[[], bytes]
    tokens: Tokens
    problems: Callable[[], tuple[str, ...]]
    """What keeps workers from being seen."""
    allows_admin: bool = True


def create_app(deps: AppDeps) -> FastAPI:
    app = FastAPI(title="Dynamo frontend", version="1", description=openapi.DESCRIPTION, redoc_url=None)
    app.add_exception_handler(RequestError, _refuse)
    app.add_exception_handler(HTTPException, _refuse_route)
    app.add_exception_handler(RequestValidationError, _refuse_parameter)
    _add_health(app, deps)
    _add_models(app, deps)
    _add_token_count(app, deps)
    _add_debug(app, deps)
    if deps.allows_admin:
        _add_thresholds(app, deps)
    openapi.describe_inference(app)
    return app


def _add_health(app: FastAPI, deps: AppDeps) -> None:
    @app.get("/health", tags=["health"])
    async def health() -> Response:
        if deps.front.is_draining:
            return _not_ready("draining")
        problems = deps.problems()
        if not deps.fleet.is_known:
            return _not_ready("discovery", problems)
        cards = deps.fleet.routed_cards()
        endpoints = sorted({f"dyn://{card.namespace}.{card.component}.generate" for card in cards})
        instances = [views.instance(card) for card in cards]
        document: dict[str, Any] = {"status": "healthy", "endpoints": endpoints, "instances": instances}
        return JSONResponse({**document, "problems": list(problems)} if problems else document)

    @app.get("/live", tags=["health"])
    async def live() -> dict[str, str]:
        return {"status": "live", "message": "Service is live"}

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(deps.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_models(app: FastAPI, deps: AppDeps) -> None:
    @app.get("/v1/models", tags=["models"])
    async def models(request: Request) -> dict[str, Any]:
        """Everything that can be served now: models, aliases, adapters."""
        listed = deps.fleet.listing()
        if "anthropic-version" in request.headers:
            return _anthropic_page(listed)
        return {"object": "list", "data": [_model(one) for one in listed]}

    @app.get("/v1/models/{model:path}", tags=["models"])
    async def model(model: str) -> dict[str, Any]:
        """One model; with `/ready` behind its id, whether it can serve and what is missing."""
        for listed in deps.fleet.listing():
            if listed.name == model:
                return _model(listed)
        base = model.removesuffix("/ready")
        served = deps.fleet.known(base)
        if base != model and served is not None:
            return views.model_readiness(base, served)
        raise NotFound(f"model: found {model!r}; no such model is served here", param="model", code="model_not_found")


def _add_token_count(app: FastAPI, deps: AppDeps) -> None:
    @app.post("/v1/responses/input_tokens", tags=["inference"])
    async def input_tokens(request: Request) -> dict[str, Any]:
        """How many tokens the input of a Responses request is."""
        check_content_type(dict(request.headers.raw))
        count = await count_input_tokens(await request.body(), deps.fleet, deps.tokens)
        return {"object": "response.input_tokens", "input_tokens": count}


def _add_debug(app: FastAPI, deps: AppDeps) -> None:
    @app.get("/debug/decisions", tags=["debug"])
    async def decisions() -> Response:
        """The last routing decisions with their reasons, newest first."""
        return Response(views.decisions(deps.fleet), media_type="application/json")

    @app.get("/debug/fleet", tags=["debug"])
    async def fleet() -> Response:
        """Every worker this frontend sees, and what its router knows of it."""
        return Response(views.fleet(deps.fleet), media_type="application/json")


def _add_thresholds(app: FastAPI, deps: AppDeps) -> None:
    @app.get("/busy_threshold", tags=["admin"])
    async def read_thresholds() -> dict[str, Any]:
        return {"thresholds": [views.thresholds(model) for model in deps.fleet.models()]}

    @app.post("/busy_threshold", tags=["admin"])
    async def set_thresholds(request: Request) -> dict[str, Any]:
        """Sets the given limits of one model; only `model` reads them."""
        return views.change_thresholds(deps.fleet, await request.body())


def _not_ready(stage: str, problems: tuple[str, ...] = ()) -> Response:
    document: dict[str, Any] = {"status": "not_ready", "stage": stage, "message": "Service is not ready"}
    return JSONResponse({**document, "problems": list(problems)} if problems else document, status_code=503)


def _model(listed: Listed) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": listed.name,
        "object": "model",
        "created": listed.created_s,
        "owned_by": OWNER,
    }
    if listed.context_length is not None:
        document["context_window"] = listed.context_length
    if listed.parent is not None:
        document["parent"] = listed.parent
    return document


def _anthropic_page(listed: tuple[Listed, ...]) -> dict[str, Any]:
    page = [
        {
            "id": one.name,
            "display_name": one.name,
            "type": "model",
            "created_at": datetime.datetime.fromtimestamp(one.created_s, datetime.UTC).isoformat(),
            "max_input_tokens": one.context_length,
        }
        for one in listed
    ]
    first, last = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    return {"data": page, "has_more": False, "first_id": first, "last_id": last}


async def _refuse(request: Request, error: Exception) -> Response:  # noqa: ARG001  # FastAPI's signature
    assert isinstance(error, RequestError)
    return Response(error_body(error), status_code=error.status, media_type="application/json")


async def _refuse_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    method, path = request.method, request.url.path
    allowed = (error.headers or {}).get("allow") or (error.headers or {}).get("Allow")
    if path.encode() in INFERENCE_ROUTES:
        allowed = "POST"
    if error.status_code == 405 or allowed:
        refused = await _refuse(request, MethodNotAllowed(f"Method {method} is not allowed on {path}; use {allowed}"))
        refused.headers["allow"] = allowed or ""
        return refused
    return await _refuse(request, NotFound(f"Route not found: {method} {path}"))


async def _refuse_parameter(request: Request, error: Exception) -> Response:
    return await _refuse(request, InvalidRequest(f"The request cannot be read: {error}"))
