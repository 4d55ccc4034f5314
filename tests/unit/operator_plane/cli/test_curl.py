from __future__ import annotations

import json
import shlex

from dynamo_operator.cli.curl import curl_line


def test_the_curl_line_survives_a_shell() -> None:
    words = shlex.split(curl_line("http://127.0.0.1:8000", "it's a/model"))

    assert words[:3] == ["curl", "-N", "http://127.0.0.1:8000/v1/chat/completions"]
    assert json.loads(words[-1])["model"] == "it's a/model"


def test_an_ipv6_address_is_not_taken_for_a_range() -> None:
    assert curl_line("http://[::1]:8000", "m").startswith("curl -gN http://[::1]:8000/")
