from __future__ import annotations

import json

from dynamo.frontend.defects import defect


def test_defect_is_named_by_kind_and_place_and_never_quotes_its_input() -> None:
    try:
        json.loads(b"\xffSECRET".decode("latin-1").encode("utf-8", "strict").decode("ascii"))
    except UnicodeDecodeError as error:
        said = defect(error)

    assert said.startswith("UnicodeDecodeError at test_defects.py:")
    assert "SECRET" not in said


def test_defect_that_was_never_raised_is_named_too() -> None:
    assert defect(KeyError("SECRET")) == "KeyError"
