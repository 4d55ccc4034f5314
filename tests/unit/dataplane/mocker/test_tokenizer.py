"""The shipped tokenizer: text round-trips, answers re-encode to their tokens, the fast library agrees."""

from __future__ import annotations

import json
from pathlib import Path

import fastokens
import hypothesis.strategies as st
import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings

from dynamo.mocker.tiny_model import generate
from dynamo.mocker.tokenizer import TINY_MODEL, ChatTemplateError, ModelTokenizer, TextStream, TokenizerError
from dynamo.mocker.tokens import FreeAnswer

TINY = ModelTokenizer(TINY_MODEL)
FAST = fastokens.Tokenizer.from_file(str(TINY_MODEL / "tokenizer.json"))
REFERENCE = tokenizers.Tokenizer.from_file(str(TINY_MODEL / "tokenizer.json"))

texts = st.text(max_size=60) | st.lists(
    st.sampled_from([" river", "The", "<|im_start|>", "<|im_end|>", "\n", "  ", "é", "日", "🎉", "don't", "12", "{"]),
    max_size=20,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(texts)
def test_any_text_round_trips_and_both_libraries_agree(text: str) -> None:
    ids = TINY.encode(text)
    assert ids == FAST.encode(text, add_special_tokens=False).ids == REFERENCE.encode(text).ids
    plain = text
    for special in generate.SPECIAL_TOKENS:
        plain = plain.replace(special, "")
    if not any(token in text for token in generate.SPECIAL_TOKENS):
        assert TINY.text(ids) == plain


def test_the_committed_file_is_what_the_script_builds() -> None:
    built = generate.build((TINY_MODEL / "words.txt").read_text().split())
    assert json.loads(built.to_str()) == json.loads((TINY_MODEL / "tokenizer.json").read_text())
    assert (TINY_MODEL / "tokenizer.json").stat().st_size < 300_000


def test_every_answer_token_is_a_word_that_encodes_to_itself() -> None:
    assert len(TINY.vocabulary.words) > 900
    for token in TINY.vocabulary.words:
        word = TINY.piece(token).decode()
        assert word.startswith(" ")
        assert TINY.encode(word) == [token]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5000), min_size=1, max_size=50), st.integers(1, 100))
def test_an_answers_text_encodes_back_to_its_tokens(prompt: list[int], count: int) -> None:
    answer = FreeAnswer(np.array(prompt, dtype=np.uint32), TINY.vocabulary, choice=0, ends=False)
    tokens = [answer.next_token() for _ in range(count)]
    assert TINY.encode(TINY.text(tokens)) == tokens


def test_characters_split_over_tokens_come_out_whole() -> None:
    stream = TextStream(TINY)
    parts = [stream.push(token) for token in TINY.encode("a日🎉")]
    assert "".join(parts) + stream.end() == "a日🎉"
    assert "�" not in "".join(parts)


def test_chat_is_rendered_with_roles_between_special_tokens() -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    assert TINY.render_chat(messages) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_tools_are_shown_in_one_system_turn() -> None:
    text = TINY.render_chat(
        [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}], tools=[{"name": "f"}]
    )
    assert text.count("<|im_start|>system") == 1
    assert '{"name":"f"}' in text


def test_a_template_that_raises_is_reported(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes((TINY_MODEL / "tokenizer.json").read_bytes())
    (tmp_path / "chat_template.jinja").write_text("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(ChatTemplateError, match="roles must alternate"):
        ModelTokenizer(tmp_path).render_chat([])


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"{}"], ids=["missing", "cut", "list", "empty"])
def test_a_broken_tokenizer_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        ModelTokenizer(tmp_path)
