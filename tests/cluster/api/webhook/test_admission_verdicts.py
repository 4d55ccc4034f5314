"""kubectl's answer to each of the reference verdicts, through the real API server, CRDs and webhooks."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from dynamo_operator.validate import load_crds
from tests.cluster.api.webhook.conftest import Guarded
from tests.cluster.errors import ClusterError
from tests.shared import SHARED
from tests.unit.operator_plane.validate.test_verdicts import UNSTARTABLE

VERDICTS = SHARED / "corpus/admission/verdicts.yaml"

# What the API server itself says about a field, before or instead of the webhooks.
NATIVE_FORMS = (
    r'strict decoding error: unknown field "(?P<field>spec[^"]*)"',
    r"(?P<field>spec[\w.]*): Required value",
    r'(?P<field>spec[\w.]*): Unsupported value: ".*": supported values: .+',
    r"(?P<field>spec[\w.]*): Invalid value: .+ should be (at least|greater than) .+",
)
OUR_FORM = (
    r"(?P<field>(spec|metadata)[^ ]*): .+\((found .+, allowed: .+)\)|(?P<near>(spec|metadata)[^ ]*): .+ did you mean"
)


def cases(verdict: str) -> list[Any]:
    if not VERDICTS.exists():
        return []
    listed = yaml.safe_load(VERDICTS.read_text())
    refused = {case["case"] for case in listed if case["verdict"] == "refused" or case["case"] in UNSTARTABLE}
    return [
        pytest.param(case, id=case["case"]) for case in listed if (case["case"] in refused) == (verdict == "refused")
    ]


def refusal(guarded: Guarded, manifest: dict[str, Any]) -> str | None:
    """What kubectl says when the manifest is refused, without the command line; None if it is admitted."""
    try:
        guarded.cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(manifest))
    except ClusterError as error:
        return str(error).partition("\n")[2]
    return None


@pytest.mark.parametrize("case", cases("accepted"))
def test_good_manifests_are_admitted(guarded: Guarded, case: dict[str, Any]) -> None:
    assert refusal(guarded, case["manifest"]) is None


@pytest.mark.parametrize("case", cases("refused"))
def test_every_line_of_a_refusal_names_field_found_and_allowed(guarded: Guarded, case: dict[str, Any]) -> None:
    said = refusal(guarded, case["manifest"])
    assert said is not None
    assert "cannot unmarshal" not in said
    if case["manifest"]["apiVersion"] not in load_crds()[case["manifest"]["kind"]].versions:
        assert "no matches for kind" in said  # kubectl's own answer: the API server is not asked
        return
    # The API server adds that it stopped looking, and once for a scale subresource what it has said already.
    lines = [
        line
        for line in said.splitlines()
        if not line.startswith(("Warning:", "* <nil>:", "* .spec")) and not line.endswith("is invalid: ")
    ]
    assert lines
    for line in lines:
        assert any(re.search(form, line) for form in (OUR_FORM, *NATIVE_FORMS)), line
