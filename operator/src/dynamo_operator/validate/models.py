"""Rules of DynamoModel. Pure; called by `manifest`."""

from __future__ import annotations

from collections.abc import Iterator

from dynamo_operator.validate.field import Field
from dynamo_operator.validate.violation import Violation, listed

SOURCES = ("s3://", "hf://", "file:///")


def check_model(manifest: Field) -> Iterator[Violation]:
    spec = manifest["spec"]
    if spec["modelType"].text != "lora":
        return
    source, uri = spec["source"], spec["source"]["uri"]
    if not source.is_present:
        yield source.broken('is required when modelType is "lora"', f"source.uri with {listed(SOURCES)}")
    elif uri.text in SOURCES:
        yield uri.broken("names nothing to load", f"{listed(SOURCES)} and what is there", found=f'"{uri.text}"')
    elif uri.text and not uri.text.startswith(SOURCES):
        # An address can hold credentials: only its scheme is shown.
        scheme = uri.text.partition("://")[0] if "://" in uri.text else ""
        found = f'"{scheme}://…"' if scheme else "an address without a scheme"
        yield uri.broken("unsupported source", f"an address that starts with {listed(SOURCES)}", found=found)
