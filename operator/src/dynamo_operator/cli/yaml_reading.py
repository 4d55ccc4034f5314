"""YAML as Kubernetes reads it, within bounds, with the nodes that tell lines. Pure; called by `manifests`.

Nothing that a file holds may cost more than its size explains, or end the program: not its length, depth or aliases.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import yaml

from dynamo_operator.local.errors import Refused

if yaml.__with_libyaml__:
    from yaml import CSafeLoader as SafeLoader  # ten times as fast
else:
    from yaml import SafeLoader  # type: ignore[assignment]

MOST_BYTES = 64 * 2**20
"""Thousands of graphs; an API server takes at most 1.5 MiB for one."""
MOST_LEVELS = 200
"""Kubernetes' own objects have some twenty; libyaml's reader goes down the C stack, which ends without an exception."""
MOST_VALUES = 200_000
"""Far beyond any graph; a short file of nested aliases can unfold to billions."""


class NotAManifest(Refused):
    """A file whose text is no manifest: `problem` without its place, at `line` (from 1)."""

    def __init__(self, file: str, problem: str, line: int = 0, column: int = 0, hint: str = "") -> None:
        place = "".join(f":{number}" for number in (line, column) if number)
        super().__init__(f"{file}{place}: {problem}", hint)
        self.file = file
        self.problem = problem
        self.line = line or 1


class _Loader(SafeLoader):
    """YAML as Kubernetes reads it: a key written twice is an error, and dates stay text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"key {name!r} is written twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: bytes, file: str) -> list[tuple[dict[str, Any], yaml.MappingNode]]:
    """The mappings of a file, each with its node; raises NotAManifest."""
    if len(text) > MOST_BYTES:
        raise NotAManifest(file, f"has {len(text):,} bytes; allowed: at most {MOST_BYTES:,}")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotAManifest(file, f"not UTF-8 text: byte {error.start} is {text[error.start]:#04x}") from None
    try:
        _check_depth(decoded, file)
        return _mappings(decoded, file)
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, decoded, file) from None
    except RecursionError:
        raise NotAManifest(file, "an alias holds itself") from None
    except yaml.YAMLError as error:
        raise _unprintable(error, decoded, file) from None


def noun(node: yaml.Node) -> str:
    return "list" if isinstance(node, yaml.SequenceNode) else "plain value"


def _not_yaml(error: yaml.MarkedYAMLError, text: str, file: str) -> NotAManifest:
    """With the character that is in the way, and what it probably means."""
    problem, mark = f"not valid YAML: {error.problem or error.context}", error.problem_mark or error.context_mark
    if mark is None:
        return NotAManifest(file, problem)
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    rest = line[mark.column :]
    hint = ""
    if rest.startswith("\t"):
        hint = "YAML takes spaces for indentation, not tabs"
    elif "{{" in line:
        hint = "is it a template? fill it in first, for example with: helm template"
    elif "cannot start any token" in problem and rest:
        problem += f": {rest[0]!r}"
    return NotAManifest(file, problem, mark.line + 1, mark.column + 1, hint)


def _unprintable(error: yaml.YAMLError, text: str, file: str) -> NotAManifest:
    problem = f"not valid YAML: {str(error).splitlines()[0]}"
    foreign = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if foreign is None:
        return NotAManifest(file, problem)
    before = text[: foreign.start()]
    return NotAManifest(file, problem, before.count("\n") + 1, len(before) - before.rfind("\n"))


def _check_depth(text: str, file: str) -> None:
    level = 0
    for event in yaml.parse(text, Loader=SafeLoader):
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if level > MOST_LEVELS:
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise NotAManifest(file, f"nested too deeply; allowed: at most {MOST_LEVELS} levels", line)


def _mappings(text: str, file: str) -> list[tuple[dict[str, Any], yaml.MappingNode]]:
    found = []
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None or (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")):
                continue
            line = node.start_mark.line + 1
            if not isinstance(node, yaml.MappingNode):
                raise NotAManifest(file, f"a manifest is a mapping; found a {noun(node)}", line)
            value = loader.construct_document(node)
            if _size(value) > MOST_VALUES:
                raise NotAManifest(file, f"the document unfolds to more than {MOST_VALUES:,} values", line)
            found.append((value, node))
    finally:
        loader.dispose()
    return found


def _size(value: object, so_far: int = 0) -> int:
    """Values in a document, those of aliases counted each time; stops counting soon after MOST_VALUES."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    so_far += 1
    for each in inner:
        if so_far > MOST_VALUES:
            break
        so_far = _size(each, so_far)
    return so_far
