"""Replicas agree on one certificate; foreign ones are read and never written."""

from __future__ import annotations

import asyncio
import base64
import datetime
from pathlib import Path

import pytest

from dynamo_operator.kube import Ref
from dynamo_operator.kube.objects import SECRET
from dynamo_operator.webhook.certificates import ANNOUNCEMENT, LIFETIME, RENEW_BEFORE, Material, Step, advanced
from dynamo_operator.webhook.custody import SecretCustody, custody_of
from dynamo_operator.webhook.errors import BadCertificates
from dynamo_operator.webhook.settings import WebhookSettings
from tests.unit.operator_plane.webhook.factories import MemoryKube

NAMES = ("w.ns.svc",)
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
REF = Ref(SECRET, "ns", "cert")
SETTINGS = WebhookSettings("ns", secret_name="cert", is_secret_foreign=True)


class Clock:
    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime.datetime:
        return self.time


def custody(kube: MemoryKube, clock: Clock | None = None) -> SecretCustody:
    return SecretCustody(kube, REF, NAMES, (clock or Clock()).now)


def data(kube: MemoryKube) -> dict[str, str]:
    stored = kube.objects["cert"].get("data", {})
    return {key: base64.b64decode(value).decode() for key, value in stored.items()}


async def test_the_first_look_fills_the_secret_and_the_next_one_only_reads() -> None:
    kube = MemoryKube()
    first = await custody(kube).current("")
    assert data(kube) == {
        "tls.crt": first.serving.certificate,
        "tls.key": first.serving.key,
        "ca.crt": first.trusted,
    }
    writes = kube.writes
    assert await custody(kube).current("") == first
    assert kube.writes == writes


async def test_replicas_that_start_together_end_with_the_same_certificate() -> None:
    kube = MemoryKube()
    found = await asyncio.gather(*(custody(kube).current("") for _ in range(5)))
    assert len({material.serving for material in found}) == 1


async def test_a_replica_that_loses_the_race_takes_the_winners_certificate() -> None:
    kube, winner = MemoryKube(), MemoryKube()
    theirs = await custody(winner).current("")

    def somebody_was_first() -> None:
        kube.objects["cert"] = {**winner.objects["cert"], "metadata": {"name": "cert", "resourceVersion": "77"}}

    kube.before_patch = somebody_was_first
    assert await custody(kube).current("") == theirs


async def test_renewal_is_announced_first_and_promoted_when_clients_have_heard_of_it() -> None:
    kube, clock = MemoryKube(), Clock()
    first = await custody(kube, clock).current("")
    clock.time = START + LIFETIME - RENEW_BEFORE
    announced = await custody(kube, clock).current(first.trusted)
    assert announced.serving == first.serving
    assert announced.trusted.endswith(first.trusted)
    assert {"next.crt", "next.key"} <= data(kube).keys()
    clock.time += ANNOUNCEMENT
    assert (await custody(kube, clock).current(first.trusted)).serving == first.serving
    promoted = await custody(kube, clock).current(announced.trusted)
    assert promoted.serving == announced.successor
    assert data(kube).keys() == {"tls.crt", "tls.key", "ca.crt"}


@pytest.mark.parametrize(
    "spoiled",
    [
        pytest.param({"tls.crt": "", "tls.key": "", "ca.crt": ""}, id="empty"),
        pytest.param({"tls.crt": "!!!", "tls.key": "!!!", "ca.crt": "!!!"}, id="no-base64"),
        pytest.param({"tls.crt": "aGVsbG8="}, id="keys-missing"),
        pytest.param({"tls.crt": "aGVsbG8=", "tls.key": "aGVsbG8=", "ca.crt": "aGVsbG8="}, id="no-certificates"),
    ],
)
async def test_a_spoiled_secret_is_filled_anew_and_foreign_keys_stay(spoiled: dict[str, str]) -> None:
    secret = {"metadata": {"name": "cert", "resourceVersion": "5"}, "data": {**spoiled, "note": "aGk="}}
    kube = MemoryKube(cert=secret)
    found = await custody(kube).current("")
    assert data(kube)["tls.crt"] == found.serving.certificate
    assert data(kube)["note"] == "hi"


def foreign(material: Material) -> dict[str, str]:
    return {"tls.crt": material.serving.certificate, "tls.key": material.serving.key, "ca.crt": material.trusted}


async def test_a_foreign_secret_is_read_and_not_written() -> None:
    made = advanced(None, Step.CREATE, NAMES, START)
    texts = {key: base64.b64encode(text.encode()).decode() for key, text in foreign(made).items()}
    kube = MemoryKube(cert={"metadata": {"name": "cert", "resourceVersion": "5"}, "data": texts})
    assert await custody_of(SETTINGS, kube, Clock().now).current("") == made
    del kube.objects["cert"]["data"]["ca.crt"]
    assert (await custody_of(SETTINGS, kube, Clock().now).current("")).trusted == ""
    assert kube.writes == 0


async def test_a_missing_foreign_secret_is_named_with_what_it_must_hold() -> None:
    with pytest.raises(BadCertificates, match=r"Secret ns/cert: found nothing; allowed: .*tls\.crt, tls\.key, ca\.crt"):
        await custody_of(SETTINGS, MemoryKube(), Clock().now).current("")


async def test_a_folder_is_read_anew_each_time(tmp_path: Path) -> None:
    settings = WebhookSettings("ns", certificates_folder=tmp_path)
    keeper = custody_of(settings, MemoryKube(), Clock().now)
    with pytest.raises(BadCertificates, match=r"tls\.crt"):
        await keeper.current("")
    for _ in range(2):
        made = advanced(None, Step.CREATE, NAMES, START)
        for name, text in foreign(made).items():
            (tmp_path / name).write_text(text)
        assert await keeper.current("") == made
    (tmp_path / "tls.key").write_text("no key")
    with pytest.raises(BadCertificates, match=str(tmp_path)):
        await keeper.current("")
