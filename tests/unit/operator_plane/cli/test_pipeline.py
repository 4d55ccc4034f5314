from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dynamo_operator.cli.manifests import Document
from dynamo_operator.cli.pipeline import choose_graph, render_document
from dynamo_operator.local.errors import Refused


def a_document(
    name: str = "shop", kind: str = "DynamoGraphDeployment", api: str = "nvidia.com/v1beta1", spec: str = "{}"
) -> Document:
    text = f"apiVersion: {api}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
    return Document("graph.yaml", yaml.safe_load(text), yaml.compose(text))


def component(name: str, role: str, command: str = "[python3, -m, dynamo.mocker]") -> str:
    container = f"{{name: main, image: 'dynamo:1.5.0', command: {command}}}"
    return f"{{name: {name}, type: {role}, podTemplate: {{spec: {{containers: [{container}]}}}}}}"


def test_the_only_graph_is_chosen_and_other_documents_are_named() -> None:
    graph = a_document()

    chosen, notes = choose_graph([a_document("cm", "ConfigMap", "v1"), graph], None)

    assert chosen is graph
    assert notes == ("ConfigMap 'cm' is passed over: only a graph runs here",)


def test_one_of_several_graphs_must_be_chosen() -> None:
    graphs = [a_document("north"), a_document("south")]

    with pytest.raises(Refused, match="holds 2 graphs: north, south"):
        choose_graph(graphs, None)
    with pytest.raises(Refused, match="holds no graph 'soth'") as refusal:
        choose_graph(graphs, "soth")

    assert refusal.value.hint == "it holds: south"
    assert choose_graph(graphs, "south")[0] is graphs[1]


def test_a_file_without_a_graph_is_refused_with_the_nearest_kind() -> None:
    with pytest.raises(Refused, match="holds no DynamoGraphDeployment; found: DynamoGraphDeploymnt 'shop'") as refusal:
        choose_graph([a_document(kind="DynamoGraphDeploymnt")], None)

    assert "kind: DynamoGraphDeployment" in refusal.value.hint


def test_every_violation_is_shown_with_its_line() -> None:
    spec = f"{{components: [{component('a', 'wrker')}, {component('b', 'frontnd')}]}}"

    with pytest.raises(Refused) as refusal:
        render_document(a_document(spec=spec), None)

    lines = refusal.value.message.splitlines()
    assert lines[0] == "DynamoGraphDeployment 'shop' has 2 mistakes:"
    assert all(line.startswith("  graph.yaml:4: spec.components[") for line in lines[1:])
    assert "worker" in lines[1]


@pytest.mark.parametrize(("wanted", "expected"), [(None, "default-shop"), ("prod", "prod-shop")])
def test_a_graph_is_rendered_for_a_namespace(wanted: str | None, expected: str) -> None:
    rendered = render_document(a_document(spec=f"{{components: [{component('w', 'worker')}]}}"), wanted)

    deployment = next(each for each in rendered.objects if each["kind"] == "Deployment")
    env = {each["name"]: each.get("value") for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["DYN_NAMESPACE"] == expected


def test_a_v1alpha1_graph_is_converted_first() -> None:
    main = "{image: 'dynamo:1.5.0', command: [python3, -m, dynamo.mocker]}"
    services = f"{{services: {{w: {{componentType: worker, extraPodSpec: {{mainContainer: {main}}}}}}}}}"

    rendered = render_document(a_document(api="nvidia.com/v1alpha1", spec=services), None)

    assert "Deployment" in {each["kind"] for each in rendered.objects}


@pytest.mark.parametrize("name", ["agg", "agg-router", "disagg"])
def test_our_examples_render(name: str) -> None:
    from dynamo_operator.cli.manifests import read_documents

    (document,) = read_documents(Path(__file__).parents[4] / "examples" / f"{name}.yaml")

    rendered = render_document(document, None)

    assert rendered.name == name
    assert rendered.warnings == ()
