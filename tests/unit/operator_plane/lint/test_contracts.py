from __future__ import annotations

from typing import Any

import pytest
import yaml

from dynamo_operator.api import SpecError, parse_graph
from dynamo_operator.convert import to_v1beta1
from dynamo_operator.lint import RULES, Finding, find_broken_contracts
from tests.shared import shared


def a_component(name: str, kind: str | None, *args: str, **more: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "dynamo/runtime:1.5.0", "args": list(args)}
    for key in ("command", "env", "resources"):
        if key in more:
            main[key] = more.pop(key)
    given = {"type": kind} if kind else {}
    return {"name": name, **given, "podTemplate": {"spec": {"containers": [main]}}, **more}


def gpus(count: int) -> dict[str, Any]:
    return {"limits": {"nvidia.com/gpu": str(count)}}


def found_in(*components: dict[str, Any], **metadata: Any) -> list[tuple[str, str, bool]]:
    document = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "g", **metadata},
        "spec": {"components": list(components)},
    }
    findings: tuple[Finding, ...] = find_broken_contracts(parse_graph(document))
    return [(each.rule, each.path, each.is_error) for each in findings]


VLLM = ("-m", "dynamo.vllm", "--model", "m")
ONE_GPU = {"resources": gpus(1)}
ARGS = "podTemplate.spec.containers[0].args"
LIMITS = "spec.components[0].podTemplate.spec.containers[0].resources.limits"
ENV = "podTemplate.spec.containers[0].env"
PAGELESS = [{"name": "DYN_SYSTEM_PORT", "value": "-1"}]
PAGE_ELSEWHERE = [{"name": "DYN_SYSTEM_PORT", "value": "8081"}]
EVENTS_OFF = '{"enable_kv_cache_events": false, "publisher": "zmq"}'


@pytest.mark.parametrize(
    ("components", "wrong"),
    [
        pytest.param(
            [
                a_component("p", "prefill", *VLLM, "--block_size", "16", **ONE_GPU),
                a_component("d", "decode", *VLLM, "--block-size=32", **ONE_GPU),
            ],
            [("block-size", f"spec.components[1].{ARGS}", True)],
            id="blocks-spelt-with-an-underscore",
        ),
        pytest.param(
            [
                a_component("r", None, "-m", "dynamo.router", "--router-block-size", "16", "--no-kv-events"),
                a_component("w", "worker", *VLLM, "--block-size", "64", **ONE_GPU),
            ],
            [("block-size", f"spec.components[0].{ARGS}", False)],
            id="a-router-of-its-own-counts-in-other-blocks",
        ),
        pytest.param(
            [a_component("w", "worker", *VLLM, modelRef={"name": "other"}, **ONE_GPU)],
            [("model", "spec.components[0].modelRef.name", False)],
            id="model-reference-to-what-is-not-loaded",
        ),
        pytest.param(
            [a_component("w", "worker", *VLLM, "--tp=2", "--data-parallel-size", "4", resources=gpus(4))],
            [("gpus", LIMITS, True)],
            id="data-parallel-ranks-need-gpus-too",
        ),
        pytest.param(
            [a_component("w", "worker", "-m", "dynamo.sglang", "--model-path", "m", "--tp-size", "2", **ONE_GPU)],
            [("gpus", LIMITS, True)],
            id="sglang-with-too-few-gpus",
        ),
        pytest.param(
            [a_component("w", "worker", "-m", "dynamo.trtllm", "--tensor-parallel-size", "8", resources=gpus(4))],
            [("gpus", LIMITS, True)],
            id="trtllm-with-too-few-gpus",
        ),
        pytest.param(
            [a_component("w", "worker", *VLLM, "--tp", "16", resources=gpus(4), multinode={"nodeCount": 2})],
            [("gpus", LIMITS, True)],
            id="gpus-of-all-nodes-are-too-few",
        ),
        pytest.param(
            [
                a_component("f", "frontend", "-m", "dynamo.frontend", "--router-mode=kv"),
                a_component("w", "worker", *VLLM, "--kv-events-config", EVENTS_OFF, **ONE_GPU),
            ],
            [("kv-events", f"spec.components[1].{ARGS}", False)],
            id="events-configured-and-switched-off",
        ),
        pytest.param(
            [
                a_component("f", "frontend", "-m", "dynamo.frontend", "--router-mode=kv"),
                a_component("w", "worker", *VLLM, "--kv-events-config={}", "--no-enable-prefix-caching", **ONE_GPU),
            ],
            [("kv-events", f"spec.components[1].{ARGS}", False)],
            id="nothing-is-cached-that-could-be-told",
        ),
        pytest.param(
            [
                a_component("r", None, "-m", "dynamo.router"),
                a_component("w", "worker", "-m", "dynamo.sglang", "--model-path", "m", **ONE_GPU),
            ],
            [("kv-events", f"spec.components[1].{ARGS}", False)],
            id="a-router-of-its-own-follows-events-too",
        ),
        pytest.param(
            [
                a_component("f", "frontend", "-m", "dynamo.frontend", "--router-mode", "kv"),
                a_component("w", "worker", "-m", "dynamo.trtllm", "--model-path", "m", **ONE_GPU),
            ],
            [("kv-events", f"spec.components[1].{ARGS}", False)],
            id="trtllm-publishes-nothing-by-itself",
        ),
        pytest.param(
            [a_component("w", "worker", *VLLM, "--dyn-reasoning-parser=deepseek-r1", **ONE_GPU)],
            [("parsers", f"spec.components[0].{ARGS}", True)],
            id="parser-with-a-hyphen",
        ),
        pytest.param(
            [
                a_component("p", "prefill", *VLLM, "--block-size", "16", **ONE_GPU),
                a_component("d", "decode", *VLLM, "--block-size=32", **ONE_GPU),
            ],
            [("block-size", f"spec.components[1].{ARGS}", True)],
            id="prefill-and-decode-with-other-blocks",
        ),
        pytest.param(
            [
                a_component("f", "frontend", "-m", "dynamo.frontend", "--kv-cache-block-size", "64"),
                a_component("w", "worker", *VLLM, "--block-size", "16", **ONE_GPU),
            ],
            [("block-size", f"spec.components[0].{ARGS}", False)],
            id="router-counts-in-other-blocks",
        ),
        pytest.param(
            [
                a_component("f", "frontend", env=[{"name": "DYN_KV_CACHE_BLOCK_SIZE", "value": "64"}]),
                a_component("w", "worker", *VLLM, "--block-size", "16", **ONE_GPU),
            ],
            [("block-size", "spec.components[0].podTemplate.spec.containers[0].env", False)],
            id="router-told-by-environment",
        ),
        pytest.param(
            [
                a_component("p", "prefill", "-m", "dynamo.vllm", "--model", "one", **ONE_GPU),
                a_component("d", "decode", "-m", "dynamo.vllm", "--model", "two", **ONE_GPU),
            ],
            [("model", f"spec.components[0].{ARGS}", True)],
            id="prefill-for-another-model",
        ),
        pytest.param(
            [a_component("w", "worker", *VLLM, "--tensor-parallel-size", "4", "--pp", "2", resources=gpus(4))],
            [("gpus", "spec.components[0].podTemplate.spec.containers[0].resources.limits", True)],
            id="more-ranks-than-gpus",
        ),
        pytest.param(
            [a_component("w", "worker", *VLLM)],
            [("gpus", "spec.components[0].podTemplate.spec.containers[0].resources.limits", False)],
            id="no-gpu-asked-for",
        ),
        pytest.param(
            [
                a_component("f", "frontend", env=[{"name": "DYN_ROUTER_MODE", "value": "kv"}]),
                a_component("w", "worker", *VLLM, **ONE_GPU),
            ],
            [("kv-events", f"spec.components[1].{ARGS}", False)],
            id="router-follows-events-that-nobody-publishes",
        ),
        pytest.param(
            [a_component("w", "worker", *VLLM, "--dyn-tool-call-parser", "hermse", **ONE_GPU)],
            [("parsers", f"spec.components[0].{ARGS}", True)],
            id="unknown-tool-parser",
        ),
        pytest.param(
            [a_component("w", "worker", *VLLM, env=[{"name": "DYN_REASONING_PARSER", "value": "x"}], **ONE_GPU)],
            [("parsers", "spec.components[0].podTemplate.spec.containers[0].env", True)],
            id="unknown-reasoning-parser-by-environment",
        ),
        pytest.param(
            [a_component("pl", "planner", "-m", "dynamo.planner")],
            [("planner", "spec.components[0]", False), ("planner", "spec.components[0]", False)],
            id="planner-alone",
        ),
        pytest.param(
            [
                a_component("f", "frontend"),
                a_component("w", "worker", *VLLM, env=PAGELESS, scalingAdapter={}, **ONE_GPU),
                a_component("v", "worker", *VLLM, env=PAGE_ELSEWHERE, scalingAdapter={}, **ONE_GPU),
                a_component("pl", "planner", "-m", "dynamo.planner"),
            ],
            [("planner", f"spec.components[1].{ENV}", False)],
            id="planner-without-a-metrics-page",
        ),
        pytest.param(
            [
                a_component("f", "frontend"),
                a_component("w", "worker", *VLLM, **ONE_GPU),
                a_component("pl", "planner", "-m", "dynamo.planner"),
            ],
            [("planner", "spec.components[1].scalingAdapter", False)],
            id="planner-without-adapter",
        ),
        pytest.param(
            [a_component("p", "prefill", *VLLM, **ONE_GPU)],
            [("roles", "spec.components[0].type", False)],
            id="prefill-alone",
        ),
        pytest.param(
            [a_component("d", "decode", *VLLM, "--disaggregation-mode", "decode", **ONE_GPU)],
            [("roles", f"spec.components[0].{ARGS}", False)],
            id="decode-alone",
        ),
    ],
)
def test_a_broken_contract_is_found_where_it_can_be_mended(
    components: list[dict[str, Any]], wrong: list[tuple[str, str, bool]]
) -> None:
    assert found_in(*components) == wrong


def test_every_rule_has_a_case() -> None:
    cases = test_a_broken_contract_is_found_where_it_can_be_mended.pytestmark[0].args[1]

    assert {rule for case in cases for rule, _, _ in case.values[1]} == set(RULES)


@pytest.mark.parametrize(
    "components",
    [
        pytest.param(
            [
                a_component(
                    "w", "worker", *VLLM, "--data-parallel-size", "8", "--data-parallel-size-local", "1", **ONE_GPU
                )
            ],
            id="a-pod-with-some-of-the-data-parallel-ranks",
        ),
        pytest.param(
            [a_component("w", "worker", "-m", "dynamo.sglang", "--tp", "4", "--dp-size", "4", resources=gpus(4))],
            id="sglang-shares-gpus-between-kinds-of-parallelism",
        ),
        pytest.param(
            [
                a_component("w", "worker", *VLLM, "--served-model-name", "s", modelRef={"name": "s"}, **ONE_GPU),
                a_component("v", "worker", *VLLM, "--served-model-name", "s", modelRef={"name": "m"}, **ONE_GPU),
            ],
            id="a-model-reference-to-either-name",
        ),
        pytest.param(
            [
                a_component("f", "frontend", "-m", "dynamo.frontend", "--router-mode", "kv"),
                a_component("w", "worker", *VLLM, "--kv-events-config", "not json", **ONE_GPU),
            ],
            id="a-configuration-that-cannot-be-read-is-not-guessed",
        ),
        pytest.param(
            [
                a_component("f", "frontend", env=[{"name": "DYN_ROUTER_MODE", "value": "kv"}]),
                a_component("w", "worker", *VLLM, "--kv-events-config", '{"publisher": "zmq"}', **ONE_GPU),
            ],
            id="events-published",
        ),
        pytest.param(
            [
                a_component("f", "frontend", "-m", "dynamo.frontend", "--router-mode", "kv", "--no-router-kv-events"),
                a_component("w", "worker", *VLLM, **ONE_GPU),
            ],
            id="events-not-followed",
        ),
        pytest.param(
            [
                a_component("f", "frontend", "-m", "dynamo.frontend", "--router-mode", "kv"),
                a_component("w", "worker", "-m", "dynamo.mocker", "--model-name", "m"),
            ],
            id="mockers-publish-by-themselves-and-need-no-gpu",
        ),
        pytest.param(
            [a_component("w", "worker", *VLLM, "--tp", "16", resources=gpus(8), multinode={"nodeCount": 2})],
            id="gpus-of-all-nodes-count",
        ),
        pytest.param(
            [a_component("w", "worker", *VLLM, "--tensor-parallel-size", "$TP", resources=gpus(1))],
            id="a-variable-is-not-guessed",
        ),
        pytest.param(
            [
                a_component(
                    "w",
                    "worker",
                    "python3 -m dynamo.vllm --model m --tp 2 \\\n --dyn-tool-call-parser hermes",
                    command=["/bin/sh", "-c"],
                    resources=gpus(2),
                )
            ],
            id="shell-script",
        ),
        pytest.param(
            [a_component("pl", "planner", "-m", "dynamo.planner", "--config", '{"environment": "global-planner"}')],
            id="global-planner",
        ),
        pytest.param(
            [
                a_component("p", "prefill", *VLLM, "--served-model-name", "s", **ONE_GPU),
                a_component("d", "decode", "-m", "dynamo.vllm", "--model=x", "--served-model-name=s", **ONE_GPU),
            ],
            id="served-name-counts",
        ),
    ],
)
def test_what_fits_together_gives_no_finding(components: list[dict[str, Any]]) -> None:
    assert found_in(*components) == []


def test_a_shell_script_is_read_like_arguments() -> None:
    script = "exec python3 -m dynamo.vllm --model m --tensor-parallel-size 8"
    worker = a_component("w", "worker", script, command=["sh", "-c"], resources=gpus(4))

    assert found_in(worker) == [("gpus", "spec.components[0].podTemplate.spec.containers[0].resources.limits", True)]


def test_metrics_switched_off_are_noticed() -> None:
    parts = [
        a_component("f", "frontend"),
        a_component("w", "worker", "-m", "dynamo.mocker", scalingAdapter={}),
        a_component("pl", "planner", "-m", "dynamo.planner"),
    ]
    path = "metadata.annotations[nvidia.com/enable-metrics]"

    assert found_in(*parts) == []
    assert found_in(*parts, annotations={"nvidia.com/enable-metrics": "false"}) == [("planner", path, False)]


def test_the_examples_that_upstream_ships_have_no_errors() -> None:
    errors = []
    for path in sorted(shared("corpus/examples").rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if not isinstance(document, dict) or document.get("kind") != "DynamoGraphDeployment":
                continue
            try:
                graph = parse_graph(to_v1beta1(document))
            except SpecError:
                continue
            errors += [(path.name, each.rule, each.message) for each in find_broken_contracts(graph) if each.is_error]

    assert errors == []
