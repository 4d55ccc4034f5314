from __future__ import annotations

import datetime

import pytest

from dynamo.frontend.tokens.encoder import Encoder, EncoderUnusable
from dynamo.frontend.tokens.template import ChatTemplate, TemplateRefused

CHATML = (
    "{{ bos_token }}{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HI = [{"role": "user", "content": "Hi."}]


def a_template(source: str) -> ChatTemplate:
    return ChatTemplate(source, {"bos_token": "<s>"}, now=lambda: datetime.datetime(2026, 1, 2))


def test_conversation_is_rendered_with_special_tokens_and_the_opening_of_an_answer() -> None:
    text = a_template(CHATML).render(HI, None, {})

    assert text == "<s><|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\n"
    assert a_template(CHATML).render(HI, None, {"add_generation_prompt": False}).endswith("<|im_end|>\n")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        pytest.param("{{ tools | tojson }}", '[{"name": "f<b>"}]', id="tojson-does-not-escape"),
        pytest.param("{{ strftime_now('%Y-%m-%d') }}", "2026-01-02", id="date"),
        pytest.param("{% for m in messages %}{% break %}{% endfor %}x", "x", id="loop-controls"),
        pytest.param("{{ enable_thinking }}", "False", id="arguments"),
        pytest.param("{% if true %}\n  a\n{% endif %}\n", "  a\n", id="trimmed-blocks"),
    ],
)
def test_what_templates_rely_on(source: str, text: str) -> None:
    assert a_template(source).render(HI, [{"name": "f<b>"}], {"enable_thinking": False}) == text


def test_parts_become_text_unless_the_template_reads_them() -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
    reader = "{% for message in messages %}{% for part in message.content %}[{{ part.text }}]{% endfor %}{% endfor %}"

    assert "a\nb<|im_end|>" in a_template(CHATML).render(messages, None, {})
    assert a_template(reader).render(messages, None, {}) == "[a][b]"


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("{{ raise_exception('no system role') }}", id="own-refusal"),
        pytest.param("{{ ''.__class__.__mro__[1].__subclasses__() }}", id="classes"),
        pytest.param("{{ cycler.__init__.__globals__.os.popen('id') }}", id="globals"),
        pytest.param("{{ messages.append(1) }}", id="mutation"),
        pytest.param("{{ 1 / 0 }}", id="arithmetic"),
        pytest.param("{{ 'x' * 1e9 }}", id="type-error"),
        pytest.param("{{ nothing.at.all }}", id="undefined"),
    ],
)
def test_templates_that_misbehave_are_refused(source: str) -> None:
    with pytest.raises(TemplateRefused):
        a_template(source).render(HI, None, {})


def test_broken_template_is_refused_at_once() -> None:
    with pytest.raises(TemplateRefused):
        a_template("{% for %}")


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"tokenizer.json": b"{"}, id="tokenizer"),
        pytest.param({"tokenizer.json": b"{}", "tokenizer_config.json": b"["}, id="config"),
    ],
)
def test_unusable_files_are_named(files: dict[str, bytes]) -> None:
    with pytest.raises(EncoderUnusable, match=r"tokenizer.*\.json"):
        Encoder(files, cache_bytes=0, now=datetime.datetime.now)
