"""The command that a reader can paste to talk to a running graph. Pure."""

from __future__ import annotations

import json
import shlex


def curl_line(url: str, model: str) -> str:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
    flags = "-gN" if "[" in url else "-N"  # curl takes brackets for a range otherwise
    return (
        f"curl {flags} {url}/v1/chat/completions -H 'content-type: application/json' -d {shlex.quote(json.dumps(body))}"
    )
