from __future__ import annotations

import json

from dynamo.frontend.defects import defect, for_log
from dynamo.wire.errors import InvalidRequest, NotFound


def test_defect_is_named_by_kind_and_place_and_never_quotes_its_input() -> None:
    try:
        json.loads(b"\xffSECRET".decode("latin-1").encode("utf-8", "strict").decode("ascii"))
    except UnicodeDecodeError as error:
        said = defect(error)

    assert said.startswith("UnicodeDecodeError at test_defects.py:")
    assert "SECRET" not in said


def test_defect_that_was_never_raised_is_named_too() -> None:
    assert defect(KeyError("SECRET")) == "KeyError"


def test_logged_refusal_names_the_field_and_not_the_value() -> None:
    ours = InvalidRequest("input[0].role: found 'SECRET: found'; allowed user", param="input")
    workers = InvalidRequest("1 validation error: prompt SECRET", param="prompt")

    assert for_log(ours, is_workers=False).message == "input[0].role: the value is refused"
    assert for_log(workers, is_workers=True).message == "The worker refused the request"
    assert for_log(InvalidRequest("The body is empty"), is_workers=False).message == "The body is empty"
    assert for_log(NotFound("model: found 'm'"), is_workers=False).message == "model: found 'm'"
