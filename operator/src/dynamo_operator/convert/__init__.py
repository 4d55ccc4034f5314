"""Conversion of `nvidia.com` resources between v1alpha1 and v1beta1, as pure functions on JSON-like documents.

Duty: give an object in the other version without losing anything, in either direction. What the other version cannot
say travels in an annotation and comes back; what was edited in the meantime wins over it.
Ban: no I/O, no validation beyond what conversion needs, no change to the input.
Callers: the conversion webhook, the parser of manifests (`api`), `dynamo up` and `dynamo render`.
"""

from dynamo_operator.convert.documents import V1ALPHA1, V1BETA1, ConversionError, Document
from dynamo_operator.convert.resources import convert, to_v1alpha1, to_v1beta1

__all__ = ["V1ALPHA1", "V1BETA1", "ConversionError", "Document", "convert", "to_v1alpha1", "to_v1beta1"]
