"""What is asked of an engine that gets nothing done, and what its fate says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dynamo.wire.cards import ModelType
from dynamo.worker.canary import Verdict, judge
from dynamo.worker.canary_request import make_canary, openai_body
from dynamo.worker.ports import EngineFacts


@pytest.mark.parametrize(
    ("status", "has_moved", "verdict"),
    [
        pytest.param(200, True, Verdict.ANSWERS, id="answered"),
        pytest.param(200, False, Verdict.ANSWERS, id="answered-before-its-progress-was-told"),
        pytest.param(None, False, Verdict.SILENT, id="nothing-came"),
        pytest.param(None, True, Verdict.ANSWERS, id="it-was-busy-with-others"),
        pytest.param(503, False, Verdict.SILENT, id="its-server-knows-that-it-cannot"),
        pytest.param(400, False, Verdict.REFUSED, id="only-its-server-spoke"),
        pytest.param(429, True, Verdict.ANSWERS, id="full-and-at-work"),
    ],
)
def test_verdict_is_by_work_done(status: int | None, has_moved: bool, verdict: Verdict) -> None:
    assert judge(status, has_moved=has_moved) is verdict


def facts(*kinds: ModelType, ranks: int = 1) -> EngineFacts:
    return EngineFacts(
        address="http://10.0.0.1:41", block_size=16, model_types=kinds or tuple(ModelType), data_parallel_size=ranks
    )


@pytest.mark.parametrize(
    ("kinds", "body", "path"),
    [
        pytest.param((), None, "/v1/completions", id="one-token"),
        pytest.param((ModelType.CHAT,), None, "/v1/chat/completions", id="of-an-engine-that-only-chats"),
        pytest.param((ModelType.EMBEDDINGS,), None, "/v1/embeddings", id="of-one-that-embeds"),
        pytest.param((), {"messages": []}, "/v1/chat/completions", id="own-chat"),
        pytest.param((), {"prompt": [1]}, "/v1/completions", id="own-prompt"),
        pytest.param((), {"input": "x"}, "/v1/embeddings", id="own-input"),
    ],
)
def test_canary_goes_where_it_is_understood(kinds: tuple[ModelType, ...], body: Any, path: str) -> None:
    canary = make_canary(facts(*kinds), "tiny", body)

    assert (canary.host, canary.port, canary.path, canary.is_parallel) == ("10.0.0.1", 41, path, False)
    assert msgspec.json.decode(canary.body)["model"] == "tiny"
    if body is not None:
        assert msgspec.json.decode(canary.body) == {"model": "tiny", **body}


def test_rank_is_named_only_where_there_are_several() -> None:
    assert make_canary(facts(ranks=2), "tiny", None).is_parallel


@pytest.mark.parametrize(
    ("found", "body"),
    [
        pytest.param(
            {
                "token_ids": [1],
                "sampling_options": {"temperature": 0.0, "n": None},
                "stop_conditions": {"max_tokens": 1, "ignore_eos": False},
                "_HEALTH_CHECK": True,
            },
            {"prompt": [1], "temperature": 0.0, "max_tokens": 1, "ignore_eos": False},
            id="upstreams-form",
        ),
        pytest.param({"prompt": "x", "stream": True, "_HEALTH_CHECK": True}, {"prompt": "x"}, id="never-streamed"),
        pytest.param({"token_ids": [1], "stop_conditions": 3}, {"prompt": [1]}, id="nonsense-is-left-out"),
    ],
)
def test_payload_is_put_into_openai_words(found: dict[str, Any], body: dict[str, Any]) -> None:
    assert openai_body(found) == body
