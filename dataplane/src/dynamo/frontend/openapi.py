"""How /openapi.json and /docs describe the inference routes, which FastAPI itself never serves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from dynamo.wire import openai_fields as fields

DESCRIPTION = "OpenAI-compatible inference over a fleet of workers. Bodies follow OpenAI's API reference."

_ROUTES: dict[str, tuple[str, frozenset[str], tuple[str, ...]]] = {
    "/v1/chat/completions": ("Answer a conversation", fields.CHAT, ("model", "messages")),
    "/v1/completions": ("Continue a text", fields.COMPLETIONS, ("model", "prompt")),
    "/v1/embeddings": ("Embed texts", fields.EMBEDDINGS, ("model", "input")),
    "/v1/responses": ("Answer through the Responses API", fields.RESPONSES, ("model", "input")),
}
_STATUSES = {
    "200": "The answer, as JSON or as server-sent events",
    "400": "The request must be changed",
    "404": "No such model",
    "503": "No worker can take the request now",
    "529": "All workers are busy",
}


def describe_inference(app: FastAPI) -> None:
    """Adds the inference routes to the application's own description."""

    def description() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            document["paths"].update({path: {"post": _operation(*route)} for path, route in _ROUTES.items()})
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = description  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _operation(summary: str, names: frozenset[str], required: tuple[str, ...]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {name: {} for name in sorted(names)}, "required": list(required)}
    return {
        "summary": summary,
        "tags": ["inference"],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {status: {"description": text} for status, text in _STATUSES.items()},
    }
