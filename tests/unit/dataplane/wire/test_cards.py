from __future__ import annotations

import msgspec
import pytest

from dynamo.wire.cards import CardError, Role, Tokenizer, WorkerCard, decode_card, encode_card

CARD = WorkerCard(
    worker_id=0x1F,
    name="w0",
    namespace="default-agg",
    component="backend",
    engine="mocker",
    model="m",
    aliases=("a",),
    loras=("l",),
    address="http://127.0.0.1:1",
    system_address="http://127.0.0.1:2",
    block_size=16,
    role=Role.DECODE,
    tokenizer=Tokenizer(path="/v1/metadata/m", checksum="c"),
)


def test_card_survives_the_wire() -> None:
    assert decode_card(encode_card(CARD)) == CARD


def test_worker_answers_to_model_aliases_and_adapters() -> None:
    assert CARD.model_names == ("m", "a", "l")
    assert CARD.hex_id == "1f"


def test_newer_card_with_unknown_fields_is_read() -> None:
    document = msgspec.json.encode({**msgspec.json.decode(encode_card(CARD)), "invented_later": 1})

    assert decode_card(document) == CARD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"block_size": "x"}, "block_size", id="wrong-type"),
        pytest.param({"role": "boss"}, "boss", id="unknown-role"),
        pytest.param({"block_size": 0}, "block_size", id="no-block"),
        pytest.param({"data_parallel_size": 10**9}, "data_parallel_size", id="ranks-beyond-reason"),
        pytest.param({"name": "w\r\nx: y"}, "name: found", id="line-break-in-a-name"),
        pytest.param({"address": "http://127.0.0.1:99999"}, "address: found", id="no-such-port"),
        pytest.param({"address": "http://[::bad"}, "address: found", id="no-url"),
        pytest.param({"address": "http://127.0.0.1:1/\r\nx: y"}, "address: found", id="line-break-in-an-address"),
        pytest.param({"system_address": "ftp://127.0.0.1:1"}, "system_address: found", id="other-scheme"),
        pytest.param({"event_address": "tcp://"}, "event_address: found", id="no-host"),
    ],
)
def test_unreadable_card_names_the_field(change: dict[str, object], message: str) -> None:
    document = msgspec.json.encode({**msgspec.json.decode(encode_card(CARD)), **change})

    with pytest.raises(CardError, match=message):
        decode_card(document)


def test_missing_field_is_named() -> None:
    with pytest.raises(CardError, match="worker_id"):
        decode_card(b"{}")
