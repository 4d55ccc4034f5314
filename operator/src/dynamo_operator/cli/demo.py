"""The demonstration of `dynamo up --demo`: a few chats that share a long prefix, through the official OpenAI client.

It is an ordinary client: it talks to the frontend over HTTP and asks it, with one request header, to explain its
routing. Called by `up` once the graph is ready.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from dynamo_operator.local.errors import Refused
from dynamo_operator.local.state import GraphState

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_MAX_TOKENS = 32
_TIMEOUT_S = 60.0

_HANDBOOK = """You are the help desk of a small harbour town. Answer from this handbook, briefly and kindly.

Ferries. The early ferry leaves the north pier at twenty past six and reaches the island in forty minutes. It carries
bicycles for free and dogs on a lead. The noon ferry is larger, has a canteen, and takes cars that were booked a day
ahead. The last ferry back leaves the island at nine in the evening; in storms it waits until the harbour master agrees.

Library. The reading room is open every day from ten to six, and until nine on Thursdays. Books are lent for four weeks
and renewed by telephone. Charts of the coast may be copied but not lent. Children choose three books at a time and may
hear a story at four on Saturdays, in the room with the old ship's lantern.

Market. Fish is sold on the quay from seven until it is gone. Bread, cheese and vegetables are sold under the roof of
the old rope walk on Wednesdays and Saturdays. Stalls take cash and cards. Visitors with a boat may buy ice by the crate
from the blue hut, whose bell should be rung twice.

Health. The surgery answers day and night. A nurse sees small injuries without an appointment each morning. The chemist
next to the church keeps late hours by turns with the one in the next town; the list hangs in both windows.

Walks. The lighthouse path takes two hours and can be muddy after rain. The cliff path is closed while birds nest, from
March to July. The mill lane is flat, has benches, and suits pushchairs and wheelchairs all the way to the weir."""

_QUESTIONS = (
    "When does the first ferry leave, and may I bring my dog?",
    "Which day is the library open late?",
    "Where can I buy bread on a Saturday?",
    "Is the cliff path open in May?",
)


async def load_client() -> type[AsyncOpenAI]:
    """Imports the client beside the starting processes: it takes most of a second."""

    def load() -> type[AsyncOpenAI]:
        from openai import AsyncOpenAI

        return AsyncOpenAI

    try:
        return await asyncio.to_thread(load)
    except ImportError:
        raise Refused(
            "--demo needs the official openai client, which is not installed", "install it: pip install openai"
        ) from None


async def hold_demo(
    client_type: type[AsyncOpenAI], state: GraphState, questions: Sequence[str], console: Console
) -> None:
    """Asks one question after the other and streams the answers. Raises Refused if the graph does not answer."""
    import openai

    if state.url is None or state.model is None:
        raise Refused("the graph serves no model to talk to", "give it a frontend and at least one worker")
    names = {process.pod: process.name for process in state.processes}
    async with client_type(
        base_url=f"{state.url}/v1",
        api_key="none",
        max_retries=0,
        timeout=_TIMEOUT_S,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
    ) as client:
        for question in questions or _QUESTIONS:
            try:
                await _chat(client, state.model, question, names, console)
            except openai.OpenAIError as error:
                raise Refused(f"the graph did not answer: {error}", f"see: dynamo logs {state.graph}") from error


def routing(headers: Mapping[str, str], names: Mapping[str, str]) -> list[str]:
    """What the answer's headers say of its way; `names` maps pod names to short ones. Empty if nothing is said."""
    worker = headers.get("x-dynamo-worker-name", "")
    cached, slash, total = headers.get("x-dynamo-cached-blocks", "").partition("/")
    facts = [f"served by {names.get(worker, worker)}"] if worker else []
    return [*facts, f"{cached} of {total} blocks were cached"] if slash else facts


async def _chat(client: AsyncOpenAI, model: str, question: str, names: Mapping[str, str], console: Console) -> None:
    """Streams one answer to the console, then says who gave it."""
    console.print(f"you    {question}", style="bold", markup=False)
    asked_s = time.monotonic()
    answer = await client.chat.completions.with_raw_response.create(
        model=model,
        messages=[{"role": "system", "content": _HANDBOOK}, {"role": "user", "content": question}],
        stream=True,
        max_tokens=_MAX_TOKENS,
        stream_options={"include_usage": True},
        extra_headers={"x-dynamo-explain": "true"},
    )
    console.print("model  ", end="", style="cyan")
    first_s: float | None = None
    tokens = 0
    async for chunk in answer.parse():
        tokens = chunk.usage.completion_tokens if chunk.usage else tokens
        text = chunk.choices[0].delta.content if chunk.choices else None
        if text:
            console.print(text if first_s else text.lstrip(), end="", markup=False)
            first_s = first_s or time.monotonic()
    console.print()
    timing = [f"the first after {(first_s - asked_s) * 1000:.0f} ms"] if first_s else []
    facts = [*routing(answer.headers, names), f"{tokens} tokens", *timing]
    console.print(f"       {' · '.join(facts)}\n", style="green", markup=False)
