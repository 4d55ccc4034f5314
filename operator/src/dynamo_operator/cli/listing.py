"""`dynamo get`: lists what a cluster has. Edge: asks the cluster and prints. Called by `main`."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from dynamo_operator.cli.cluster import Cluster, Unknown, connect
from dynamo_operator.cli.rendering import yaml_text
from dynamo_operator.cli.target import Target
from dynamo_operator.cli.terminal import columns, paint_for
from dynamo_operator.cli.views import VIEWS, View
from dynamo_operator.kube import Document
from dynamo_operator.kube.objects import GRAPH, MODEL, POD
from dynamo_operator.local.errors import Refused
from dynamo_operator.render import names

EVERYTHING = "all"


@dataclass(frozen=True, slots=True)
class ListOptions:
    kind: str
    name: str | None
    output: Literal["table", "wide", "json", "yaml", "name"]
    is_everywhere: bool


@dataclass(frozen=True, slots=True)
class Listed:
    view: View
    objects: list[Document]


def list_objects(options: ListOptions, target: Target) -> None:
    """Raises Refused where nothing can be listed; an empty list is no error."""
    options = _apart(options)
    views = chosen_views(options.kind)
    if options.name is not None and (len(views) > 1 or options.is_everywhere):
        raise Refused("a name goes with one kind in one namespace", "for example: dynamo get dgd NAME -n NAMESPACE")
    cluster = connect(target, everywhere=options.is_everywhere)
    found = [Listed(view, _find(cluster, view, options.name, is_one_of_many=len(views) > 1)) for view in views]
    if options.output in {"json", "yaml"}:
        _print_documents(found, options)
    elif options.output == "name":
        for each in found:
            for document in each.objects:
                group = f".{each.view.kind.group}" if each.view.kind.group else ""
                print(f"{each.view.kind.name.lower()}{group}/{document['metadata']['name']}")
    else:
        _print_tables(found, options, cluster.namespace)


def chosen_views(word: str) -> Sequence[View]:
    """Raises Refused naming the kinds."""
    if word == EVERYTHING:
        return VIEWS
    for view in VIEWS:
        singular = view.kind.name.lower()
        if word.lower() in {view.word, *view.aliases} or (
            view.kind != POD and word.lower().partition(".")[0] in {singular, view.kind.plural}
        ):
            return (view,)
    words = [EVERYTHING, *(name for view in VIEWS for name in (view.word, *view.aliases))]
    near = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.65)
    known = ", ".join([*(view.word for view in VIEWS), EVERYTHING])
    raise Refused(f"unknown kind {word!r}", f"did you mean {near[0]}?" if near else f"known: {known}")


def graph_named(*words: str) -> str:
    """A graph's name, given as `NAME`, `dgd/NAME` or `dgd NAME`; raises Refused where another kind is meant."""
    *kind, name = [part for word in words for part in word.split("/", 1)]
    for word in kind:
        if [view.kind for view in chosen_views(word)] != [GRAPH]:
            raise Refused(f"found {word} {name}; only a graph can be asked for here", f"dynamo get {word} lists others")
    if len(kind) > 1:
        raise Refused(f"one graph at a time; found: {', '.join(words)}")
    return name


def _apart(options: ListOptions) -> ListOptions:
    """`dgd/NAME`, as kubectl prints it, means the same as `dgd NAME`."""
    kind, slash, name = options.kind.partition("/")
    return replace(options, kind=kind, name=name) if slash and options.name is None else options


def _find(cluster: Cluster, view: View, name: str | None, *, is_one_of_many: bool) -> list[Document]:
    """A worker's name may also be its graph's."""
    if view.kind == POD:
        pods = cluster.find(POD, labels=view.labels)
        if name is None:
            return pods
        mine = [
            pod for pod in pods if name in {pod["metadata"]["name"], pod["metadata"]["labels"].get(names.GRAPH_NAME)}
        ]
        if not mine:
            raise Refused(f"no worker and no graph with workers is called {name!r}", "dynamo get workers lists them")
        return mine
    if name is not None:
        return [cluster.get(view.kind, name)]
    try:
        return cluster.find(view.kind)
    except Unknown:
        # A cluster without models' kind still has graphs to list.
        if is_one_of_many and view.kind == MODEL:
            return []
        raise


def _print_documents(found: Sequence[Listed], options: ListOptions) -> None:
    documents = [without_managed_fields(document) for each in found for document in each.objects]
    whole = documents[0] if options.name is not None and len(documents) == 1 else _list_of(documents)
    if options.output == "json":
        print(json.dumps(whole, indent=2, ensure_ascii=False))
    else:
        print(yaml_text([whole]).removeprefix("---\n"), end="")


def without_managed_fields(document: Document) -> Document:
    """As kubectl prints objects."""
    metadata = {key: value for key, value in document["metadata"].items() if key != "managedFields"}
    return {**document, "metadata": metadata}


def _list_of(documents: list[Document]) -> Document:
    return {"apiVersion": "v1", "kind": "List", "items": documents}


def _plural(view: View) -> str:
    return "workers" if view.kind == POD else f"{view.kind.name}s"


def _print_tables(found: Sequence[Listed], options: ListOptions, namespace: str) -> None:
    now, paint = datetime.now(UTC), paint_for(sys.stdout)
    shown = [each for each in found if each.objects]
    if not shown:
        where = f"in namespace {namespace}" if namespace else "in any namespace"
        what = "Dynamo objects" if len(found) > 1 else _plural(found[0].view)
        print(f"There are no {what} {where}.", file=sys.stderr)
    for at, each in enumerate(shown):
        if len(found) > 1:
            print(("\n" if at else "") + paint(each.view.word, "dim"))
        table = each.view.table(
            each.objects, now, is_wide=options.output == "wide", is_everywhere=options.is_everywhere
        )
        print("\n".join(columns(table[0], table[1:], paint)))
