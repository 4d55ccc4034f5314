"""`dynamo lint`: says everything that is wrong with manifests, with the line of each field. Called by `main`.

Exit codes: 0 nothing to complain about, 1 findings, 2 a file is not there or may not be read. A file that is no YAML is
a finding, so that the others are still looked at.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dynamo_operator.cli.complaint import complain
from dynamo_operator.cli.manifests import Document, manifest_files, read_documents
from dynamo_operator.cli.terminal import Paint, paint_for
from dynamo_operator.cli.yaml_reading import NotAManifest
from dynamo_operator.lint import Finding, is_judged, lint_manifest
from dynamo_operator.local.errors import Refused
from dynamo_operator.validate import Context
from dynamo_operator.validate.text_forms import LABEL_FORM, is_label

CLEAN, FOUND, UNREADABLE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class LintOptions:
    files: tuple[Path, ...]
    as_json: bool = False
    is_strict: bool = False
    has_grove: bool = False
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A finding with its file, line and document."""

    file: str
    line: int
    document: str
    finding: Finding


def lint_files(options: LintOptions) -> int:
    """Prints the findings and returns the exit code."""
    try:
        files = manifest_files(options.files)
        context = _context(options)
    except Refused as refused:
        complain(refused)
        return UNREADABLE
    documents, found = 0, list[Placed]()
    passed_over = list[str]()
    for file in files:
        try:
            read = read_documents(file)
        except NotAManifest as broken:
            hint = f"; {broken.hint}" if broken.hint else ""
            found.append(Placed(broken.file, broken.line, "", Finding("yaml", "", f"{broken.problem}{hint}")))
            continue
        except Refused as refused:
            complain(refused)
            return UNREADABLE
        judged = [each for each in read if is_judged(each.value)]
        documents += len(judged)
        passed_over += [f"{each.file}: {each.title}" for each in read if each not in judged]
        found += [placed for each in judged for placed in place(each, context)]
        found += written_twice(judged)
    _print(options, found, passed_over, len(files), documents)
    is_failed = any(each.finding.is_error or options.is_strict for each in found)
    return FOUND if is_failed else CLEAN


def place(document: Document, context: Context) -> Iterator[Placed]:
    for finding in lint_manifest(document.value, context):
        yield Placed(document.file, document.line(finding.path), f"{document.kind}/{document.name}", finding)


def written_twice(documents: Sequence[Document]) -> Iterator[Placed]:
    """Of two documents that are one object, an apply leaves only the later."""
    first: dict[tuple[str, ...], int] = {}
    for each in documents:
        metadata = each.value.get("metadata")
        namespace = str(metadata.get("namespace") or "") if isinstance(metadata, Mapping) else ""
        line = first.setdefault((each.kind, namespace, each.name), each.line(""))
        if each.name and line != each.line(""):
            message = f"this object is also at line {line}, and an apply leaves only what it finds last"
            finding = Finding("written-twice", "metadata.name", message, is_error=False)
            yield Placed(each.file, each.line("metadata.name"), f"{each.kind}/{each.name}", finding)


def _context(options: LintOptions) -> Context:
    """What a manifest asks for is taken to be installed; only Grove changes how graphs without a word of it run."""
    if options.namespace is not None and not is_label(options.namespace):
        raise Refused(f"--namespace: found {options.namespace!r}", f"allowed: {LABEL_FORM}")
    return Context(
        has_grove=options.has_grove,
        has_leader_worker_sets=True,
        has_inference_pools=True,
        namespace=options.namespace or "default",
    )


def _print(options: LintOptions, found: list[Placed], passed_over: list[str], files: int, documents: int) -> None:
    if options.as_json:
        print(json.dumps([_as_document(each) for each in found], indent=2, ensure_ascii=False))
    else:
        paint = paint_for(sys.stdout)
        for each in found:
            print(text_line(each, paint))
    sys.stdout.flush()  # what follows goes another way, and belongs after it
    for title in passed_over:
        print(f"note: {title} is passed over: not an object of nvidia.com", file=sys.stderr)
    print(f"{_count(files, 'file')}, {_count(documents, 'manifest')}: {_verdict(found)}", file=sys.stderr)


def text_line(placed: Placed, paint: Paint) -> str:
    finding = placed.finding
    severity = paint("error", "red") if finding.is_error else paint("warning", "yellow")
    return f"{placed.file}:{placed.line}: {severity}: {finding} [{finding.rule}]"


def _as_document(placed: Placed) -> dict[str, object]:
    finding = asdict(placed.finding)
    severity = "error" if finding.pop("is_error") else "warning"
    return {"file": placed.file, "line": placed.line, "document": placed.document, "severity": severity, **finding}


def _verdict(found: Iterable[Placed]) -> str:
    kinds = [each.finding.is_error for each in found]
    errors, warned = sum(kinds), len(kinds) - sum(kinds)
    parts = [_count(number, word) for number, word in ((errors, "error"), (warned, "warning")) if number]
    return ", ".join(parts) or "nothing to complain about"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
