"""Manifest files: the documents of a file with the lines that their fields came from. Edge: reads files.

A `List`, as `dynamo get -o yaml` and `kubectl get -o yaml` print it, stands for the objects in it. Called by the
commands.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dynamo_operator.cli.yaml_reading import NotAManifest, noun, read_yaml
from dynamo_operator.local.errors import Refused
from dynamo_operator.validate.violation import printable

_SUFFIXES = ("*.yaml", "*.yml")
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
        return printable(f"{self.kind or 'document without a kind'}{name}")

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


def manifest_files(given: Sequence[Path]) -> list[Path]:
    """Files as they are, folders as all YAML files in them. Raises Refused for what is not there."""
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(file for suffix in _SUFFIXES for file in path.rglob(suffix) if file.is_file())
            if not inside:
                raise Refused(f"folder {path} holds no YAML files", "name a file, or another folder")
            found += inside
        elif str(path) == "-" or path.is_file():
            found.append(path)
        else:
            raise Refused(f"there is no file or folder {path}", "several may be given: -f ONE -f OTHER")
    return list(dict.fromkeys(found))


def read_documents(file: Path) -> tuple[Document, ...]:
    """All documents of a file (`-`: standard input). Raises Refused naming file, line and column."""
    if str(file) == "-":
        return _parsed(sys.stdin.buffer.read(), "standard input")
    try:
        return _parsed(file.read_bytes(), str(file))
    except IsADirectoryError:
        raise Refused(f"{file} is a folder", f"name a file in it: {_some(file)}") from None
    except FileNotFoundError:
        near = difflib.get_close_matches(file.name, _yaml_files(file.parent), n=1)
        hint = f"did you mean {file.parent / near[0]}?" if near else f"here are: {_some(file.parent)}"
        raise Refused(f"there is no file {file}", hint) from None
    except OSError as error:
        raise Refused(f"cannot read {file}: {error.strerror}") from None


def _parsed(text: bytes, file: str) -> tuple[Document, ...]:
    documents = tuple(each for value, node in read_yaml(text, file) for each in _unfolded(Document(file, value, node)))
    if not documents:
        raise NotAManifest(file, "holds no YAML document")
    return documents


def _unfolded(document: Document) -> list[Document]:
    """The objects of a List, each with its own lines; any other document is itself."""
    items = document.value.get("items")
    written = next((value for key, value in document.root.value if key.value == "items"), None)
    if document.kind != "List" or not isinstance(items, list) or written is None:
        return [document]
    nodes = written.value
    for item, node in zip(items, nodes, strict=True):
        if not isinstance(item, Mapping):
            problem = f"an item of a List is a mapping; found a {noun(node)}"
            raise NotAManifest(document.file, problem, node.start_mark.line + 1)
    return [Document(document.file, item, node) for item, node in zip(items, nodes, strict=True)]


def _some(folder: Path) -> str:
    names = _yaml_files(folder)
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "") if names else "no YAML files"


def _yaml_files(folder: Path) -> list[str]:
    found = (path.name for pattern in _SUFFIXES for path in folder.glob(pattern))
    return sorted(name for name in found if not name.startswith("."))
