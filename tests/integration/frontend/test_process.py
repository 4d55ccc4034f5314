"""`python -m dynamo.frontend` as a process: starting, refusing to start, TLS, ending."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.stack import free_port, wait_until

OPENSSL = [
    "openssl",
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-days",
    "2",
]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DYN_")}
    return {**kept, "DYN_FILE_KV": str(tmp_path / "kv"), "DYN_HTTP_HOST": "127.0.0.1"}


@pytest.fixture
def started(env: dict[str, str], tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dynamo.frontend", "--http-port", str(port)], env=env, stdout=log, stderr=log
        )
        try:
            wait_until(lambda: httpx.get(f"http://127.0.0.1:{port}/live").status_code == 200, "the frontend is live")
            yield process, port
        finally:
            process.kill()
            process.wait()


def refused(argv: list[str], env: dict[str, str]) -> tuple[int, list[str]]:
    ended = subprocess.run(
        [sys.executable, "-m", "dynamo.frontend", *argv],
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return ended.returncode, (ended.stdout + ended.stderr).strip().splitlines()


def test_port_in_use_is_said_in_one_line(env: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, lines = refused(["--http-port", str(port)], env)

    assert code == 1
    assert len(lines) == 1, lines
    assert f"127.0.0.1:{port}" in lines[0]
    assert "in use" in lines[0]


def test_wrong_flag_is_said_in_one_line(env: dict[str, str]) -> None:
    code, lines = refused(["--router-mod", "kv"], env)

    assert code == 2
    assert len(lines) == 1, lines
    assert "--router-mode" in lines[0]


def test_unusable_certificate_is_said_in_one_line(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("junk")
    code, lines = refused(["--tls-cert-path", str(tmp_path / "x.pem"), "--tls-key-path", str(tmp_path / "x.pem")], env)

    assert code == 2
    assert len(lines) == 1, lines
    assert "--tls-cert-path: found" in lines[0]


def test_help_lists_flags_of_frontend_and_router(env: dict[str, str]) -> None:
    code, lines = refused(["--help"], env)

    assert code == 0
    assert {"--http-port", "--router-mode"} <= {line.strip() for line in lines}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_process_with_zero(
    started: tuple[subprocess.Popen[bytes], int], number: signal.Signals
) -> None:
    process, port = started
    page = httpx.get(f"http://127.0.0.1:{port}/openapi.json").json()
    docs = httpx.get(f"http://127.0.0.1:{port}/docs")

    process.send_signal(number)

    assert process.wait(10) == 0
    assert "/v1/chat/completions" in page["paths"]
    assert docs.status_code == 200


def test_tls_serves_and_asks_for_client_certificates(env: dict[str, str], tmp_path: Path) -> None:
    certificate, key, port = tmp_path / "c.pem", tmp_path / "k.pem", free_port()
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*OPENSSL, "-keyout", key, "-out", certificate, *subject], check=True, capture_output=True)
    flags = ["--tls-cert-path", certificate, "--tls-key-path", key, "--tls-client-ca-cert-path", certificate]
    trusting = ssl.create_default_context(cafile=certificate)
    known = ssl.create_default_context(cafile=certificate)
    known.load_cert_chain(certificate, key)
    process = subprocess.Popen(
        [sys.executable, "-m", "dynamo.frontend", "--http-port", str(port), *map(str, flags)],
        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        url = f"https://127.0.0.1:{port}/live"
        wait_until(lambda: httpx.get(url, verify=known).status_code == 200, "the frontend is live")
        with pytest.raises(httpx.TransportError):
            httpx.get(url, verify=trusting)
    finally:
        process.terminate()
        assert process.wait(10) == 0
