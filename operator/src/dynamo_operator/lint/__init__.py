"""What a webhook cannot know is wrong: components of one graph that do not fit together.

Duty: pure rules over a parsed graph, each with the field to change. It must not repeat what `validate` refuses, and
never guesses: a flag that cannot be read from a command gives no finding. Callers: `dynamo lint`.
"""

from __future__ import annotations

from dynamo_operator.lint.contracts import RULES, find_broken_contracts
from dynamo_operator.lint.finding import Finding

__all__ = ["RULES", "Finding", "find_broken_contracts"]
