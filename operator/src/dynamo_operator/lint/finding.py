"""One thing that a manifest's author should know."""

from __future__ import annotations

from dataclasses import dataclass

from dynamo_operator.validate.violation import printable


@dataclass(frozen=True, slots=True)
class Finding:
    """`rule` is a stable id; `path` leads to the field to change; an error cannot work, a warning works badly.

    `found`, `allowed` and `nearest` (the name that was probably meant) are ready to print and may be empty.
    """

    rule: str
    path: str
    message: str
    is_error: bool = True
    found: str = ""
    allowed: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        facts = [f"found {self.found}"] if self.found else []
        facts += [f"allowed: {self.allowed}"] if self.allowed else []
        told = f" ({', '.join(facts)})" if facts else ""
        meant = f"; did you mean {self.nearest}?" if self.nearest else ""
        where = f"{self.path}: " if self.path else ""
        return printable(f"{where}{self.message}{told}{meant}")


def works_badly(rule: str, path: str, message: str) -> Finding:
    return Finding(rule, path, message, is_error=False)
