from __future__ import annotations

import pytest

from dynamo_operator.local.expand import expand

VALUES = {"PORT": "8000", "NAME": "$(PORT)"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        pytest.param("http://x:$(PORT)/", "http://x:8000/", id="a-known-name-is-replaced"),
        pytest.param("$(OTHER)", "$(OTHER)", id="an-unknown-name-stays"),
        pytest.param("$$(PORT)", "$(PORT)", id="a-doubled-dollar-escapes"),
        pytest.param("$$$(PORT)", "$8000", id="an-escaped-dollar-before-a-reference"),
        pytest.param("$(NAME)", "$(PORT)", id="nothing-is-expanded-twice"),
        pytest.param("$(PORT", "$(PORT", id="an-unclosed-reference-stays"),
        pytest.param("$PORT ${PORT} 5$", "$PORT ${PORT} 5$", id="shell-syntax-stays"),
    ],
)
def test_references_expand_as_kubernetes_does(text: str, expanded: str) -> None:
    assert expand(text, VALUES) == expanded
