from __future__ import annotations

from dynamo_operator.local.environment import inherited


def test_only_the_manifest_speaks_for_the_product() -> None:
    own = {"DYN_NAMESPACE": "mine", "NATS_SERVER": "x", "POD_NAME": "y", "HF_TOKEN": "t", "PATH": "/bin"}

    assert inherited(own, "/venv/bin") == {"HF_TOKEN": "t", "PATH": "/venv/bin:/bin"}


def test_logging_of_the_user_is_passed_on() -> None:
    own = {"DYN_LOG": "debug", "DYN_LOGGING_JSONL": "1"}

    assert own.items() <= inherited(own, "/venv/bin").items()
