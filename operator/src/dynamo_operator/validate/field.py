"""A place in a manifest: its path and the value there. Rules walk a manifest through these and never meet a wrong type.

Pure. Used by every rule of this package: a field that is absent, null or of another type than asked for reads as
empty, because the schema walk (`structure`) reports wrong types by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dynamo_operator.validate.violation import Violation, shown


@dataclass(frozen=True, slots=True)
class Field:
    path: str
    value: object

    def __getitem__(self, name: str) -> Field:
        """The named field; present or not, its path is right."""
        return Field(join(self.path, name), self.mapping.get(name))

    @property
    def mapping(self) -> Mapping[str, object]:
        return self.value if isinstance(self.value, Mapping) else {}

    @property
    def items(self) -> tuple[Field, ...]:
        """A list's elements, with paths like `containers[0]`."""
        if not isinstance(self.value, list | tuple):
            return ()
        return tuple(Field(f"{self.path}[{index}]", item) for index, item in enumerate(self.value))

    @property
    def entries(self) -> tuple[tuple[str, Field], ...]:
        """A map's keys and values, with paths like `services[decode]`; null values are absent."""
        return tuple(
            (str(key), Field(f"{self.path}[{key}]", value)) for key, value in self.mapping.items() if value is not None
        )

    @property
    def is_present(self) -> bool:
        return self.value is not None

    @property
    def text(self) -> str:
        return self.value if isinstance(self.value, str) else ""

    @property
    def integer(self) -> int | None:
        return self.value if isinstance(self.value, int) and not isinstance(self.value, bool) else None

    @property
    def is_true(self) -> bool:
        return self.value is True

    @property
    def names(self) -> tuple[str, ...]:
        """The `name` of each element of a list of objects; nameless ones are left out."""
        return tuple(item["name"].text for item in self.items if item["name"].text)

    def broken(self, message: str, allowed: str = "", *, found: str | None = None, nearest: str = "") -> Violation:
        return Violation(self.path, shown(self.value) if found is None else found, allowed, message, nearest)


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
