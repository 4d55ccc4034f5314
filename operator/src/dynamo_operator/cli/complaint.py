"""How an error looks: one line, and one with what to do next. Edge: standard error."""

from __future__ import annotations

import sys

from dynamo_operator.local.errors import Refused


def complain(refused: Refused) -> None:
    print(f"error: {refused.message}", file=sys.stderr)
    if refused.hint:
        print(f"  {refused.hint}", file=sys.stderr)
