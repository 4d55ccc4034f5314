from __future__ import annotations

import pytest

from dynamo.process.flags import Flag, FlagError, Retired, boolean, number, one_of, parse_flags, usage

FLAGS = (
    Flag("--http-port", number(int, least=0, most=65535), 8000, env=("DYN_HTTP_PORT",), help="Port to listen on."),
    Flag("--router-mode", one_of("kv", "random"), "random", env=("DYN_ROUTER_MODE",)),
    Flag("--trust-remote-code", boolean, False, env=("DYN_TRUST",)),
    Flag("--extension", str, (), env=("DYN_EXTENSIONS",), repeatable=True),
    Flag("--temperature", number(float, least=-1), 0.0, short="-t"),
)
RETIRED = (Retired("--event-plane", "events always travel over ZMQ", env=("DYN_EVENT_PLANE",)),)


@pytest.mark.parametrize(
    ("argv", "env", "key", "value"),
    [
        pytest.param([], {}, "http_port", 8000, id="default"),
        pytest.param([], {"DYN_HTTP_PORT": "9000"}, "http_port", 9000, id="environment-beats-default"),
        pytest.param(["--http-port", "1"], {"DYN_HTTP_PORT": "9000"}, "http_port", 1, id="flag-beats-environment"),
        pytest.param(["--http-port=2"], {}, "http_port", 2, id="equals-form"),
        pytest.param(["--trust-remote-code"], {}, "trust_remote_code", True, id="boolean"),
        pytest.param(["--no-trust-remote-code"], {"DYN_TRUST": "1"}, "trust_remote_code", False, id="negated-boolean"),
        pytest.param(["--extension", "a", "--extension", "b"], {}, "extension", ("a", "b"), id="repeatable"),
        pytest.param([], {"DYN_EXTENSIONS": "a, b"}, "extension", ("a", "b"), id="repeatable-from-environment"),
        pytest.param(["-t", "-0.5"], {}, "temperature", -0.5, id="short-name-and-negative-number"),
        pytest.param([], {"DYN_HTTP_PORT": ""}, "http_port", 8000, id="empty-variable-is-unset"),
    ],
)
def test_value_comes_from(argv: list[str], env: dict[str, str], key: str, value: object) -> None:
    assert parse_flags(argv, env, FLAGS).values[key] == value


@pytest.mark.parametrize(
    ("argv", "env", "message"),
    [
        pytest.param(["--http-prot", "1"], {}, "unknown flag --http-prot; did you mean --http-port?", id="typo"),
        pytest.param(["--zzz"], {}, "unknown flag --zzz; --help lists them", id="nothing-near"),
        pytest.param(["serve"], {}, "unexpected argument 'serve'; --help lists them", id="positional"),
        pytest.param(["--http-port"], {}, "--http-port: a value is missing", id="no-value"),
        pytest.param(["--http-port", "--router-mode"], {}, "--http-port: a value is missing", id="flag-for-a-value"),
        pytest.param(["--no-http-port"], {}, "unknown flag --no-http-port", id="only-booleans-negate"),
        pytest.param(
            ["--http-port", "70000"],
            {},
            "--http-port: found '70000'; expected an integer from 0 to 65535",
            id="out-of-range",
        ),
        pytest.param(
            [],
            {"DYN_ROUTER_MODE": "kvv"},
            "DYN_ROUTER_MODE: found 'kvv'; expected one of kv, random",
            id="bad-variable-is-named",
        ),
        pytest.param(["--temperature", "nan"], {}, "--temperature: found 'nan'", id="not-a-number"),
    ],
)
def test_bad_input_names_flag_found_and_allowed(argv: list[str], env: dict[str, str], message: str) -> None:
    with pytest.raises(FlagError) as error:
        parse_flags(argv, env, FLAGS, RETIRED)

    assert message in str(error.value)


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        pytest.param(["--event-plane", "nats", "--http-port", "1"], {}, id="flag-with-value"),
        pytest.param(["--event-plane=nats", "--http-port", "1"], {}, id="equals-form"),
        pytest.param(["--http-port", "1"], {"DYN_EVENT_PLANE": "nats"}, id="variable"),
    ],
)
def test_retired_flag_is_accepted_with_one_warning(argv: list[str], env: dict[str, str]) -> None:
    parsed = parse_flags(argv, env, FLAGS, RETIRED)

    assert parsed.values["http_port"] == 1
    assert parsed.warnings == ("--event-plane has no effect here: events always travel over ZMQ",)


def test_usage_names_flag_variable_and_default() -> None:
    text = usage("python -m dynamo.frontend", "Serves OpenAI's API.", FLAGS)

    assert "--http-port" in text
    assert "env DYN_HTTP_PORT" in text
    assert "default 8000" in text
    assert "--[no-]trust-remote-code" in text
