"""Lengths of the names that rendering makes of a graph's and its components' names (design: names of children).

Pure. Called by `graph` and `validate`. A name that is too long passes a schema and then fails when the child object is
created, so it is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator

from dynamo_operator.validate.context import Pathway
from dynamo_operator.validate.field import Field
from dynamo_operator.validate.text_forms import LABEL_LENGTH, is_label
from dynamo_operator.validate.view import ComponentView
from dynamo_operator.validate.violation import Violation

HASH_SUFFIX = "-01234567"  # a worker generation's: '-' and 8 hexadecimal digits
GROVE_LENGTH = 45  # set, group and clique together; Grove adds the rest of a pod's name
GROVE_SET_LENGTH = 8  # a set named after a longer graph is cut, but to no less than this
GROVE_ROLE = "-ldr"
# A LeaderWorkerSet's pods carry `<set>-<group>-<revision>` as a label value: 99 groups, 10 characters of revision.
SET_LENGTH = LABEL_LENGTH - len("-99") - len("-0123456789")
GLOBAL_NAMESPACE = "dynamo"
COMPONENT_FORM = "1 to 63 letters, digits and inner '-'"


def check_rendered_names(
    graph_name: Field, components: tuple[ComponentView, ...], namespace: str, pathway: Pathway
) -> Iterator[Violation]:
    name = graph_name.text
    if not name:
        return
    if name[0].isdigit():
        yield graph_name.broken("Services named after it must start with a letter", "a name that starts with a letter")
    base = f"{namespace}-{name.replace('.', '-')}"
    if len(base) > LABEL_LENGTH and not all(c.field["globalDynamoNamespace"].is_true for c in components):
        limit = LABEL_LENGTH - len(namespace) - 1
        yield graph_name.broken(
            f'the label "{base}" (Kubernetes namespace and graph) has {len(base)} characters',
            f"at most {LABEL_LENGTH}: at most {limit} for the graph's name in namespace {namespace}",
        )
    for component in components:
        yield from _check_component(name, component, pathway)


def service_name(graph: str, component: ComponentView, pathway: Pathway) -> str:
    """The component's Service; a worker's carries its generation on the component pathway."""
    name = f"{graph}-{component.name}".lower().replace(".", "-")
    return name + HASH_SUFFIX if component.is_worker and pathway is Pathway.COMPONENT else name


def _check_component(graph: str, component: ComponentView, pathway: Pathway) -> Iterator[Violation]:
    if len(component.name) > LABEL_LENGTH and not component.is_alpha:
        return  # the schema says so
    rendered = service_name(graph, component, pathway)
    grove_room = GROVE_LENGTH - min(len(graph), GROVE_SET_LENGTH)
    if pathway is Pathway.GROVE and _grove_length(component) > grove_room:
        yield component.name_field.broken(
            f"Grove's names of its group and clique have {_grove_length(component)} characters",
            f"at most {grove_room}, so that Grove's pod names fit",
        )
    elif len(rendered) > LABEL_LENGTH:
        yield component.name_field.broken(
            f'its Service "{rendered}" has {len(rendered)} characters',
            f"at most {LABEL_LENGTH}: shorten the graph's name (now {len(graph)}) or the component's",
        )
    elif component.is_alpha and not is_label(component.name.lower()):
        yield component.name_field.broken("not a component name", COMPONENT_FORM)
    elif component.is_multinode and pathway is Pathway.COMPONENT and len(rendered) + 2 > SET_LENGTH:
        yield component.name_field.broken(
            f'its LeaderWorkerSet "{rendered}-0" has {len(rendered) + 2} characters',
            f"at most {SET_LENGTH}, so that the labels of its pods fit",
        )


def _grove_length(component: ComponentView) -> int:
    """Characters of a clique's name and, where the component scales in groups, of the group's."""
    length = len(component.name)
    if component.is_multinode:
        return 2 * length + len(GROVE_ROLE)
    return 2 * length if component.field["experimental"]["grove"]["forceScalingGroup"].is_true else length
