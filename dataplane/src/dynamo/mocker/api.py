"""The engine's routes: vLLM's HTTP surface, one small function per route.

A route parses, calls the service or answers from it, and never blocks. The engine passes `handle` to its connections.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from dynamo.mocker import bodies, metrics
from dynamo.mocker.asks import chat_ask, completion_ask
from dynamo.mocker.connection import Request, Responder
from dynamo.mocker.embeddings import DEFAULT_DIMENSIONS, MAX_DIMENSIONS, MAX_NUMBERS, as_base64, embed
from dynamo.mocker.faults import parse_script
from dynamo.mocker.service import AdapterRefused, Origin, Service
from dynamo.mocker.tokenizer import ChatTemplateError
from dynamo.wire.cards import ModelType
from dynamo.wire.errors import Internal, InvalidRequest, MethodNotAllowed, NotFound, RequestError

Route = Callable[[Request, Responder], None]
_log = logging.getLogger(__name__)
_encode = msgspec.json.encode
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
MAX_REQUEST_ID_CHARACTERS = 256


class Api:
    """Maps requests to routes, and errors to answers."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._routes: dict[str, dict[str, Route]] = {
            "/health": {"GET": self._empty},
            "/ping": {"GET": self._empty, "POST": self._empty},
            "/version": {"GET": self._version},
            "/load": {"GET": self._load},
            "/metrics": {"GET": self._metrics},
            "/v1/models": {"GET": self._models},
            "/tokenize": {"POST": self._tokenize},
            "/detokenize": {"POST": self._detokenize},
            "/v1/load_lora_adapter": {"POST": self._load_lora},
            "/v1/unload_lora_adapter": {"POST": self._unload_lora},
            "/reset_prefix_cache": {"POST": self._reset_cache},
        }
        surfaces: dict[ModelType, tuple[str, Route]] = {
            ModelType.CHAT: ("/v1/chat/completions", self._chat),
            ModelType.COMPLETIONS: ("/v1/completions", self._completions),
            ModelType.EMBEDDINGS: ("/v1/embeddings", self._embeddings),
        }
        for kind in service.config.model_types:
            path, route = surfaces[kind]
            self._routes[path] = {"POST": route}

    def handle(self, request: Request, responder: Responder) -> None:
        """Answers every request, now or later; raises nothing."""
        try:
            self._route(request)(request, responder)
        except RequestError as error:
            responder.send_error(error)
        except Exception:
            # A defect in one request's handling must not take the engine down; the client gets a 500.
            _log.exception("request failed: %s %s", request.method, request.path)
            responder.send_error(Internal("the engine failed on this request"))

    def _route(self, request: Request) -> Route:
        methods = self._routes.get(request.path)
        if methods is None:
            raise NotFound(f"no route {request.method} {request.path}")
        method = "GET" if request.method == "HEAD" else request.method
        if method not in methods:
            raise MethodNotAllowed(f"{request.path} allows {', '.join(methods)}, not {request.method}")
        return methods[method]

    def _chat(self, request: Request, responder: Responder) -> None:
        body = bodies.decode(request.body, bodies.ChatBody)
        model, lora = self._service.resolve_model(body.model)
        origin = self._origin(request.headers, body.mocker_fault)
        ask = chat_ask(body, model, self._service.tokenizer, self._service.config.context_tokens)
        self._generate_or_fail(ask, lora, origin, responder)

    def _completions(self, request: Request, responder: Responder) -> None:
        body = bodies.decode(request.body, bodies.CompletionBody)
        model, lora = self._service.resolve_model(body.model)
        origin = self._origin(request.headers, body.mocker_fault)
        ask = completion_ask(body, model, self._service.tokenizer, self._service.config.context_tokens)
        self._generate_or_fail(ask, lora, origin, responder)

    def _generate_or_fail(self, ask: Any, lora: str | None, origin: Origin, responder: Responder) -> None:
        status = origin.script.status if origin.script else None
        if status is not None:
            error = {"message": "scripted fault", "type": "internal_server_error", "param": None, "code": status}
            responder.send(status, _encode({"error": error}))
            return
        self._service.generate(ask, lora, origin, responder)

    def _origin(self, headers: Mapping[str, str], body_script: str | None) -> Origin:
        script = None
        if self._service.config.enable_faults and (text := body_script or headers.get("x-mocker-fault")):
            script = parse_script(text)
        request_id = headers.get("x-request-id") or None
        if request_id is not None and (len(request_id) > MAX_REQUEST_ID_CHARACTERS or not request_id.isprintable()):
            raise InvalidRequest(
                f"X-Request-Id: expected at most {MAX_REQUEST_ID_CHARACTERS} printable characters", param="X-Request-Id"
            )
        return Origin(request_id=request_id, rank=headers.get("x-data-parallel-rank"), script=script)

    def _embeddings(self, request: Request, responder: Responder) -> None:
        body = bodies.decode(request.body, bodies.EmbeddingBody)
        self._service.check_accepting()
        model, _ = self._service.resolve_model(body.model)
        dimensions = DEFAULT_DIMENSIONS if body.dimensions is None else body.dimensions
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise InvalidRequest(
                f"dimensions: found {dimensions}; allowed is from 1 to {MAX_DIMENSIONS}", param="dimensions"
            )
        if body.encoding_format not in (None, "float", "base64"):
            raise InvalidRequest(
                f"encoding_format: found {body.encoding_format!r}; allowed are float, base64", param="encoding_format"
            )
        texts = self._embedding_inputs(body, dimensions)
        entries = []
        for index, tokens in enumerate(texts):
            vector = embed(tokens, dimensions)
            value = as_base64(vector) if body.encoding_format == "base64" else vector.tolist()
            entries.append({"object": "embedding", "index": index, "embedding": value})
        total = sum(map(len, texts))
        usage = {"prompt_tokens": total, "total_tokens": total}
        _send(responder, {"object": "list", "data": entries, "model": model, "usage": usage})

    def _embedding_inputs(self, body: bodies.EmbeddingBody, dimensions: int) -> list[list[int]]:
        """Each text's tokens. Raises InvalidRequest for an empty or too long text, or too much work in all."""
        tokenizer, longest = self._service.tokenizer, self._service.config.context_tokens
        texts = [
            tokenizer.encode(text) if isinstance(text, str) else text for text in bodies.prompts_of(body.input, "input")
        ]
        for index, tokens in enumerate(texts):
            if not 0 < len(tokens) <= longest:
                raise InvalidRequest(
                    f"input[{index}]: found {len(tokens)} tokens; allowed is from 1 to {longest}", param="input"
                )
        total, most = sum(map(len, texts)), MAX_NUMBERS // dimensions
        if total > most:
            raise InvalidRequest(
                f"input: found {total} tokens; at most {most} are allowed in one request with {dimensions} dimensions",
                param="input",
            )
        return texts

    def _models(self, _: Request, responder: Responder) -> None:
        service, config = self._service, self._service.config
        names = [(name, None) for name in (config.model, *config.aliases)]
        models = [
            {
                "id": name,
                "object": "model",
                "created": service.created_s,
                "owned_by": "dynamo",
                "root": service.adapters[name].uri if parent else config.model,
                "parent": parent,
                "max_model_len": config.context_tokens,
            }
            for name, parent in (*names, *((name, config.model) for name in service.adapters))
        ]
        _send(responder, {"object": "list", "data": models})

    def _tokenize(self, request: Request, responder: Responder) -> None:
        body = bodies.decode(request.body, bodies.TokenizeBody)
        self._service.resolve_model(body.model)
        tokenizer = self._service.tokenizer
        if (body.prompt is None) == (body.messages is None):
            raise InvalidRequest("prompt: expected either prompt or messages", param="prompt")
        try:
            text = (
                body.prompt
                if body.prompt is not None
                else tokenizer.render_chat(
                    body.messages or [], tools=body.tools, add_generation_prompt=body.add_generation_prompt
                )
            )
        except ChatTemplateError as error:
            raise InvalidRequest(f"messages: {error}", param="messages") from error
        tokens = tokenizer.encode(text)
        answer: dict[str, Any] = {
            "count": len(tokens),
            "max_model_len": self._service.config.context_tokens,
            "tokens": tokens,
            "token_strs": None,
        }
        if body.return_token_strs:
            answer["token_strs"] = [tokenizer.piece(token).decode("utf-8", "replace") for token in tokens]
        _send(responder, answer)

    def _detokenize(self, request: Request, responder: Responder) -> None:
        body = bodies.decode(request.body, bodies.DetokenizeBody)
        self._service.resolve_model(body.model)
        _send(responder, {"prompt": self._service.tokenizer.text(body.tokens)})

    def _load_lora(self, request: Request, responder: Responder) -> None:
        body = bodies.decode(request.body, bodies.LoadLoraBody)
        if not body.load_inplace and body.lora_name in self._service.adapters:
            raise InvalidRequest(f"The lora adapter '{body.lora_name}' has already been loaded.", param="lora_name")
        try:
            self._service.load_adapter(body.lora_name, body.lora_path, replaces=body.load_inplace)
        except AdapterRefused as error:
            if error.is_missing:
                raise NotFound(str(error), param="lora_path") from error
            raise InvalidRequest(str(error), param="lora_name") from error
        text = f"Success: LoRA adapter '{body.lora_name}' added successfully."
        responder.send(200, text.encode(), "text/plain; charset=utf-8")

    def _unload_lora(self, request: Request, responder: Responder) -> None:
        body = bodies.decode(request.body, bodies.UnloadLoraBody)
        try:
            self._service.unload_adapter(body.lora_name)
        except KeyError:
            raise NotFound(f"The lora adapter '{body.lora_name}' cannot be found.", param="lora_name") from None
        text = f"Success: LoRA adapter '{body.lora_name}' removed successfully."
        responder.send(200, text.encode(), "text/plain; charset=utf-8")

    def _reset_cache(self, _: Request, responder: Responder) -> None:
        self._service.reset_cache()
        responder.send(200, b"")

    def _metrics(self, _: Request, responder: Responder) -> None:
        responder.send(200, metrics_text(self._service), PROMETHEUS)

    def _load(self, _: Request, responder: Responder) -> None:
        _send(responder, {"server_load": self._service.in_flight})

    def _version(self, _: Request, responder: Responder) -> None:
        try:
            _send(responder, {"version": version("dynamo-inference")})
        except PackageNotFoundError:
            _send(responder, {"version": "unknown"})

    def _empty(self, _: Request, responder: Responder) -> None:
        responder.send(200, b"")


def metrics_text(service: Service) -> bytes:
    """The engine's families in Prometheus text form."""
    ranks = [(rank.scheduler, rank.metrics) for rank in service.ranks]
    return metrics.render(service.config.model, ranks, list(service.adapters))


def _send(responder: Responder, body: Any) -> None:
    responder.send(200, _encode(body))
