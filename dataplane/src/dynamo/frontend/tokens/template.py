"""Chat templates, rendered as engines do (Hugging Face's conventions), in a sandbox: templates come with models.

Pure but for `now`, which templates may ask for.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

_READS_PARTS = re.compile(r"\bin\s+\w*message\w*(?:\.content|\[['\"]content['\"]\])")
"""A template that loops over a message's content takes OpenAI's list of parts; others want one string."""


class TemplateRefused(ValueError):
    """The template cannot render these messages; the message says why."""


class ChatTemplate:
    """One model's template. Immutable after construction."""

    def __init__(self, source: str, special: Mapping[str, str], *, now: Callable[[], datetime.datetime]) -> None:
        """`special`: texts of `bos_token`, `eos_token` …. Raises TemplateRefused when the source is no template."""
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda form: now().strftime(form)
        self._special = dict(special)
        self._reads_parts = _READS_PARTS.search(source) is not None
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise TemplateRefused(f"chat template: {error}") from error

    def render(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None, arguments: Mapping[str, Any]
    ) -> str:
        """Raises TemplateRefused."""
        shown = messages if self._reads_parts else [_with_text(message) for message in messages]
        values = {
            "messages": shown,
            "tools": tools or None,
            "documents": None,
            "add_generation_prompt": True,
            **self._special,
            **arguments,
        }
        try:
            return self._template.render(values)
        except Exception as error:
            # A template is a program of the model's author: whatever it raises, it refuses these messages.
            raise TemplateRefused(f"chat template: {error}") from error


def _with_text(message: Mapping[str, Any]) -> Mapping[str, Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return message
    texts = [str(part.get("text", "")) for part in content if isinstance(part, dict) and "text" in part]
    return {**message, "content": "\n".join(texts)}


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes HTML characters, which would change prompts."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> NoReturn:
    raise TemplateRefused(message)
