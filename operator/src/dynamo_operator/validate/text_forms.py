"""The forms that Kubernetes asks of names, labels and annotations. Pure; used by several rule modules."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dynamo_operator.validate.field import Field
from dynamo_operator.validate.violation import Violation

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", re.ASCII)

# The grammar of image references that container runtimes read: a host, lower-case parts, a tag and a digest.
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:{_HOST}(?::[0-9]+)?/)?{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)

IMAGE_FORM = "[host[:port]/]name[:tag][@digest], the name in lower case"
LABEL_FORM = "1 to 63 of a-z, 0-9 and inner '-'"
SUBDOMAIN_FORM = "1 to 253 of a-z, 0-9, inner '-' and '.'"
ANNOTATIONS_LENGTH = 256 * 1024  # bytes of one object's keys and values
LABEL_VALUE_FORM = "up to 63 of letters, digits and inner '-', '_', '.'"
QUALIFIED_FORM = "name or prefix/name: a name has 1 to 63 letters, digits and inner '-', '_', '.'"


def is_label(text: str) -> bool:
    """A DNS-1123 label, such as a container's or volume's name."""
    return len(text) <= LABEL_LENGTH and _LABEL.fullmatch(text) is not None


def is_subdomain(text: str) -> bool:
    """A DNS-1123 subdomain, such as an object's name."""
    return len(text) <= SUBDOMAIN_LENGTH and _SUBDOMAIN.fullmatch(text) is not None


def is_image(text: str) -> bool:
    """An image reference that a container runtime can read."""
    return _IMAGE.fullmatch(text) is not None


def is_qualified_name(text: str) -> bool:
    """A label's or annotation's key: `name` or `prefix/name`."""
    prefix, slash, name = text.rpartition("/")
    if slash and not is_subdomain(prefix):
        return False
    return len(name) <= LABEL_LENGTH and _QUALIFIED.fullmatch(name) is not None


def is_label_value(text: str) -> bool:
    return not text or (len(text) <= LABEL_LENGTH and _QUALIFIED.fullmatch(text) is not None)


def check_labels(labels: Field) -> Iterator[Violation]:
    yield from check_annotations(labels)
    for _, value in labels.entries:
        if not is_label_value(value.text):
            yield value.broken("not a label value", LABEL_VALUE_FORM)


def check_annotations(annotations: Field) -> Iterator[Violation]:
    length = sum(len(f"{key}{value.text}".encode()) for key, value in annotations.entries)
    if length > ANNOTATIONS_LENGTH:
        yield annotations.broken("too long together", f"at most {ANNOTATIONS_LENGTH} bytes", found=f"{length} bytes")
    for key, value in annotations.entries:
        if not is_qualified_name(key):
            yield value.broken("not a key", QUALIFIED_FORM, found=f'"{key}"')


def check_object_names(names: tuple[Field, ...]) -> Iterator[Violation]:
    """Names of other objects, where given: none of another form can exist."""
    for name in names:
        if name.text and not is_subdomain(name.text):
            yield name.broken("not an object's name", SUBDOMAIN_FORM)
