"""What `dynamo up` says when a graph is ready and when it has failed, however it runs. Edge: reads log files."""

from __future__ import annotations

from dynamo_operator.cli.curl import curl_line
from dynamo_operator.local.errors import StartFailed
from dynamo_operator.local.state import GraphState, StateFolder

_LOG_LINES = 12


def greeting(state: GraphState, took_s: float) -> str:
    lines = [f"{state.graph} is ready after {took_s:.1f} s" + (f": {state.url}" if state.url else "")]
    if state.url and state.model:
        lines.append(f"  {curl_line(state.url, state.model)}")
    return "\n".join(lines)


def raise_failure(state: GraphState, folder: StateFolder) -> None:
    """Raises StartFailed with the failed process' last words, if the supervisor gave up."""
    if state.failure is not None:
        raise StartFailed(state.failure, last_words(folder, state.failure.partition(" ")[0]))


def last_words(folder: StateFolder, process: str) -> str:
    log = folder.log(process)
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if log.exists() else []
    shown = "\n".join(f"    {line}" for line in lines) or "    (nothing)"
    return f"the last it wrote to {log}:\n{shown}"
