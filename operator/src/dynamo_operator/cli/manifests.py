"""Manifest files: YAML documents with the lines they came from. Edge: reads files. Called by the commands.

A `List`, as `dynamo get -o yaml` and `kubectl get -o yaml` print it, stands for the objects in it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
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

_STEP = re.compile(r"\[(\d+)\]|\[([^\]]+)\]|([^.\[\]]+)")
"""`[0]` an item, `[key]` a key that may hold dots, `key`."""


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document of a file."""

    file: str
    value: Mapping[str, Any]
    root: yaml.Node

    @property
    def kind(self) -> str:
        return str(self.value.get("kind") or "")

    @property
    def name(self) -> str:
        metadata = self.value.get("metadata")
        return str(metadata.get("name") or "") if isinstance(metadata, Mapping) else ""

    @property
    def title(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"{self.kind or 'document without a kind'}{name}"

    @property
    def is_ours(self) -> bool:
        return str(self.value.get("apiVersion") or "").startswith("nvidia.com/")

    def line(self, path: str) -> int:
        """The line (from 1) of a field such as `spec.components[0].type`, or of its nearest written parent."""
        node, line = self.root, self.root.start_mark.line
        for index, quoted, plain in _STEP.findall(path):
            key = index or quoted or plain
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == key), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line, found[1]
            elif isinstance(node, yaml.SequenceNode) and index and int(index) < len(node.value):
                node = node.value[int(index)]
                line = node.start_mark.line
            else:
                break
        return int(line) + 1


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


def read_documents(file: Path) -> tuple[Document, ...]:
    """All documents of a file (`-`: standard input). Raises Refused naming file, line and column."""
    if str(file) == "-":
        return _parsed(sys.stdin.buffer.read(), "standard input")
    try:
        return _parsed(file.read_bytes(), str(file))
    except IsADirectoryError:
        raise Refused(f"{file} is a folder", f"name a file in it: {_some(file)}") from None
    except FileNotFoundError:
        raise Refused(f"there is no file {file}", f"here are: {_some(file.parent)}") from None
    except OSError as error:
        raise Refused(f"cannot read {file}: {error.strerror}") from None


def _parsed(text: bytes, file: str) -> tuple[Document, ...]:
    if len(text) > MOST_BYTES:
        raise Refused(f"{file} has {len(text):,} bytes; allowed: at most {MOST_BYTES:,}", "is it a manifest?")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"{file} is not UTF-8 text: byte {error.start} is {text[error.start]:#04x}") from None
    try:
        documents = tuple(_documents(decoded, file))
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, decoded, file) from None
    except RecursionError:
        raise Refused(f"{file}: an alias holds itself") from None
    except yaml.YAMLError as error:
        where = (
            _place(decoded, foreign.start()) if (foreign := yaml.reader.Reader.NON_PRINTABLE.search(decoded)) else ""
        )
        raise Refused(f"{file}{where}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not documents:
        raise Refused(f"{file} holds no YAML document")
    return documents


def _not_yaml(error: yaml.MarkedYAMLError, text: str, file: str) -> Refused:
    """With the character that is in the way, and what it probably means."""
    mark = error.problem_mark or error.context_mark
    lines = text.splitlines()
    rest = lines[mark.line][mark.column :] if mark and mark.line < len(lines) else ""
    hint = ""
    if rest.startswith("\t"):
        hint = "YAML takes spaces for indentation, not tabs"
    elif mark and mark.line < len(lines) and "{{" in lines[mark.line]:
        hint = "is it a template? fill it in first, for example with: helm template"
    where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
    at = f" at {rest[0]!r}" if rest else ""
    return Refused(f"{file}{where}: not valid YAML: {error.problem or error.context}{at}", hint)


def _place(text: str, position: int) -> str:
    return f":{text.count(chr(10), 0, position) + 1}:{position - text.rfind(chr(10), 0, position)}"


def _check_depth(text: str, file: str) -> None:
    level = 0
    for event in yaml.parse(text, Loader=SafeLoader):
        level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if level > MOST_LEVELS:
            place = f"{file}:{event.start_mark.line + 1}" if event.start_mark else file
            raise Refused(f"{place}: nested too deeply; allowed: at most {MOST_LEVELS} levels")


def _documents(text: str, file: str) -> list[Document]:
    _check_depth(text, file)
    found: list[Document] = []
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None or (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")):
                continue
            if not isinstance(node, yaml.MappingNode):
                raise Refused(f"{file}:{node.start_mark.line + 1}: a manifest is a mapping; found a {_noun(node)}")
            document = Document(file, loader.construct_document(node), node)
            if _size(document.value) > MOST_VALUES:
                raise Refused(f"{file}: {document.title} unfolds to more than {MOST_VALUES:,} values")
            found += _unfolded(document)
    finally:
        loader.dispose()
    return found


def _unfolded(document: Document) -> list[Document]:
    """The objects of a List, each with its own lines; any other document is itself."""
    items = document.value.get("items")
    written = next((value for key, value in document.root.value if key.value == "items"), None)
    if document.kind != "List" or not isinstance(items, list) or written is None:
        return [document]
    nodes = written.value
    for item, node in zip(items, nodes, strict=True):
        if not isinstance(item, Mapping):
            place = f"{document.file}:{node.start_mark.line + 1}"
            raise Refused(f"{place}: an item of a List is a mapping; found a {_noun(node)}")
    return [Document(document.file, item, node) for item, node in zip(items, nodes, strict=True)]


def _size(value: object, so_far: int = 0) -> int:
    """Values in a document, those of aliases counted each time; stops counting soon after MOST_VALUES."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    so_far += 1
    for each in inner:
        if so_far > MOST_VALUES:
            break
        so_far = _size(each, so_far)
    return so_far


def _noun(node: yaml.Node) -> str:
    return "list" if isinstance(node, yaml.SequenceNode) else "plain value"


def _some(folder: Path) -> str:
    names = sorted(path.name for pattern in ("*.yaml", "*.yml") for path in folder.glob(pattern))
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "") if names else "no YAML files"
