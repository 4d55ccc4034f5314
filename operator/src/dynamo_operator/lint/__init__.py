"""What is wrong with a manifest: all that admission says, and components of one graph that do not fit together.

Duty: pure rules, each with the field to change. Contracts must not repeat what `validate` refuses, and never guess: a
flag that cannot be read from a command gives no finding. Callers: `dynamo lint`, and admission.
"""

from __future__ import annotations

from dynamo_operator.lint.contracts import RULES, find_broken_contracts
from dynamo_operator.lint.finding import Finding
from dynamo_operator.lint.manifest import find_unrenderable, is_judged, lint_manifest

__all__ = ["RULES", "Finding", "find_broken_contracts", "find_unrenderable", "is_judged", "lint_manifest"]
