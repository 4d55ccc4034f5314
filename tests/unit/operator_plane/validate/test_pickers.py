"""Rules of endpoint pickers: a valid manifest with one thing wrong gives one violation."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_operator.validate import Context, validate
from tests.unit.operator_plane.validate.cases import Row, alpha, assert_only_violation, beta, wrong
from tests.unit.operator_plane.validate.manifests import (
    a_component,
    a_container,
    a_graph,
    an_alpha_service,
    with_,
)

WORKER = "spec.components[1]"
POOLS = Context(has_inference_pools=True)


def an_alpha_epp(config: dict[str, Any]) -> dict[str, Any]:
    return alpha("spec.services[epp]", an_alpha_service("epp", eppConfig=config))


@pytest.mark.parametrize(
    "row",
    [
        wrong(
            "epp-config-on-worker",
            beta(f"{WORKER}.eppConfig", {"configMapRef": {"key": "k", "name": "n"}}),
            f"{WORKER}.eppConfig",
            'type "worker"',
            "nothing",
        ),
        wrong(
            "epp-two-sources",
            a_graph(
                a_component(
                    "epp",
                    "epp",
                    eppConfig={
                        "configMapRef": {"key": "k", "name": "n"},
                        "config": {"plugins": [], "schedulingProfiles": []},
                    },
                )
            ),
            "spec.components[0].eppConfig",
            "config, configMapRef",
            "one of config, configMapRef",
            Context(has_inference_pools=True),
        ),
        wrong(
            "epp-without-config-before-1.5",
            with_(
                a_graph(a_component("epp", "epp")),
                "spec.components[0].podTemplate.spec.containers[0].image",
                "r/epp:1.4.0",
            ),
            "spec.components[0].eppConfig",
            "nothing",
            "one of config, configMapRef",
            Context(has_inference_pools=True),
        ),
        wrong(
            "v1alpha1-epp-config-without-profiles",
            an_alpha_epp({"config": {"plugins": []}}),
            "spec.services[epp].eppConfig.config.schedulingProfiles",
            "nothing",
            "a list",
            POOLS,
        ),
        wrong(
            "v1alpha1-epp-config-of-another-shape",
            an_alpha_epp({"config": {"plugins": {"type": "t"}, "schedulingProfiles": []}}),
            "spec.services[epp].eppConfig.config.plugins",
            "an object",
            "a list",
            POOLS,
        ),
        wrong(
            "epp-config-map-of-no-possible-name",
            an_alpha_epp({"configMapRef": {"key": "k", "name": "My_Map"}}),
            "spec.services[epp].eppConfig.configMapRef.name",
            '"My_Map"',
            "a-z",
            POOLS,
        ),
        wrong(
            "epp-two-replicas",
            a_graph(a_component("epp", "epp", replicas=2)),
            "spec.components[0].replicas",
            "2",
            "1",
            Context(has_inference_pools=True),
        ),
    ],
)
def test_one_wrong_thing_gives_one_violation(row: Row) -> None:
    assert_only_violation(*row)


def test_a_picker_may_mount_its_default_volumes_elsewhere() -> None:
    mounts = [{"name": "hf-cache", "mountPath": "/hf"}, {"name": "epp-config", "mountPath": "/conf"}]
    template = {"spec": {"containers": [a_container(volumeMounts=mounts)]}}
    picker = a_component(
        "Epp", "epp", podTemplate=template, eppConfig={"config": {"plugins": [], "schedulingProfiles": []}}
    )
    assert [str(each) for each in validate(a_graph(picker), Context(has_inference_pools=True))] == []
    worker = a_component(podTemplate=template)
    assert len(validate(a_graph(worker))) == len(mounts)
