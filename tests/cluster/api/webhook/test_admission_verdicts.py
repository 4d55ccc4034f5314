"""kubectl's answer to each of the reference verdicts, through the real API server, CRDs and webhooks."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.cluster.api.webhook.conftest import Guarded
from tests.cluster.errors import ClusterError
from tests.shared import SHARED
from tests.unit.operator_plane.validate.test_verdicts import UNSTARTABLE

VERDICTS = SHARED / "corpus/admission/verdicts.yaml"


def cases() -> list[Any]:
    if not VERDICTS.exists():
        return []
    return [pytest.param(case, id=case["case"]) for case in yaml.safe_load(VERDICTS.read_text())]


def answer(guarded: Guarded, manifest: dict[str, Any]) -> str | None:
    """What kubectl says when the manifest is refused; None if it is admitted."""
    try:
        guarded.cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(manifest))
    except ClusterError as error:
        return str(error)
    return None


@pytest.mark.parametrize("case", cases())
def test_verdict(guarded: Guarded, case: dict[str, Any]) -> None:
    said = answer(guarded, case["manifest"])
    print(said)
    assert (said is not None) == (case["verdict"] == "refused" or case["case"] in UNSTARTABLE), said
