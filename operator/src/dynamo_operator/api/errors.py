"""Errors of reading a document into typed specs.

SpecError(ValueError)    a field is missing or has the wrong form
"""

from __future__ import annotations


class SpecError(ValueError):
    """A field of a document cannot be read; carries its full path, what was found and what is allowed."""

    def __init__(self, path: str, found: object, allowed: str) -> None:
        super().__init__(f"{path}: found {found!r}; allowed: {allowed}")
        self.path = path
        self.found = found
        self.allowed = allowed
