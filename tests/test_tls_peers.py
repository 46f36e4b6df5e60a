"""TLS with other people's programs: openssl, curl, ncat, socat, as clients and as servers."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

import prise
from blocking_support import until
from cli_process import run
from peers import Peer, free_port, need
from prise import TLS, Limits
from tls_support import authority, client_tls, localhost, server_tls, someone

PATIENCE = 15.0
CA = str(authority().cert)
CERT, KEY = str(localhost().cert), str(localhost().key)


def function(connection: Any) -> None:
    for line in connection:
        if line == "bye":
            return
        connection.send(f"{connection.tls.version} {line}")
    connection.send("goodbye")


def generator(connection: Any) -> Any:
    reply = None
    try:
        while (line := (yield reply)) != "bye":
            reply = f"{connection.tls.version} {line}"
    except GeneratorExit:
        return "goodbye"


async def coroutine(connection: Any) -> None:
    async for line in connection:
        if line == "bye":
            return
        await connection.send(f"{connection.tls.version} {line}")
    await connection.send("goodbye")


MODELS = {"threads": function, "processes": function, "select": generator, "asyncio": coroutine}


@pytest.fixture(params=MODELS)
def model(request: Any) -> str:
    found: str = request.param
    return found


def serve(model: str = "threads", tls: TLS | None = None, conversation: Any = None) -> prise.Server:
    return prise.listen(
        conversation or MODELS[model],
        "tls:127.0.0.1:0",
        model=model,
        tls=tls or server_tls(),
        limits=Limits(linger_time=0.5),
    )


def said_by(*argv: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    need(argv[0])
    return subprocess.run(argv, input=given, capture_output=True, timeout=PATIENCE, check=False)


# -- Their clients, our server -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_openssl_as_a_client(model: str, version: str) -> None:
    with serve(model) as server:
        done = said_by(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{server.address.port}", f"-tls{version}", "-quiet"),
            *("-CAfile", CA, "-verify_return_error", "-servername", "localhost", "-verify_hostname", "localhost"),
            given=b"hello\n" + b"x" * 50_000 + b"\nbye\n",
        )
        name = "TLSv" + version.replace("_", ".")
        assert done.stdout.decode().split("\n") == [f"{name} hello", f"{name} " + "x" * 50_000, ""]
        assert done.returncode == 0, done.stderr
    assert not any(server.stats().errors.values())


def test_openssl_as_a_client_with_a_certificate(model: str) -> None:
    with serve(model, server_tls(client_ca=authority().cert)) as server:
        connect = ("openssl", "s_client", "-connect", f"127.0.0.1:{server.address.port}", "-quiet", "-CAfile", CA)
        done = said_by(*connect, "-cert", str(someone().cert), "-key", str(someone().key), given=b"hello\nbye\n")
        assert done.stdout == b"TLSv1.3 hello\n"
        done = said_by(*connect, given=b"hello\nbye\n")
        assert done.stdout == b""
        assert b"certificate required" in done.stderr
        until(lambda: server.stats().errors["handshake"] == 1, "it is counted")


def test_openssl_may_not_renegotiate(model: str) -> None:
    """`R` at the beginning of a line asks for it, with TLS 1.2."""
    with serve(model) as server, prise.connect(server.address, tls=client_tls(), timeout=PATIENCE) as other:
        connect = ("openssl", "s_client", "-connect", f"127.0.0.1:{server.address.port}", "-tls1_2", "-CAfile", CA)
        with Peer(*connect, given=b"R\n") as client:
            said, error = client.process.communicate(timeout=PATIENCE)
        assert b"RENEGOTIATING" in said + error
        assert b"no renegotiation" in error
        assert other.ask("hello", timeout=PATIENCE) == "TLSv1.3 hello"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_gets_its_response(model: str, version: str) -> None:
    response = (b"HTTP/1.1 200 OK\r", b"Content-Length: 6\r", b"Connection: close\r", b"\r", b"hello")

    def function(connection: Any) -> None:
        for line in connection:
            if not line.strip():
                for each in response:
                    connection.send(each)
                return

    def generator(connection: Any) -> Any:
        while (yield None).strip():
            pass
        for each in response:
            connection.send(each)

    async def coroutine(connection: Any) -> None:
        async for line in connection:
            if not line.strip():
                for each in response:
                    await connection.send(each)
                return

    answers = {"threads": function, "processes": function, "select": generator, "asyncio": coroutine}
    with prise.listen(
        answers[model], "tls:127.0.0.1:0", model=model, tls=server_tls(), framing="delimited:\\n"
    ) as server:
        done = said_by(
            *("curl", "--silent", "--show-error", "--cacert", CA, f"--tlsv{version}", "--tls-max", version),
            *("--noproxy", "*", f"https://localhost:{server.address.port}/"),
        )
        assert (done.stdout, done.returncode) == (b"hello\n", 0), done.stderr
    assert not any(server.stats().errors.values())


def test_curl_does_not_trust_a_stranger() -> None:
    with serve() as server:
        done = said_by("curl", "--silent", "--noproxy", "*", f"https://localhost:{server.address.port}/")
        assert done.returncode == 60  # curl(1): the certificate cannot be checked
        until(lambda: server.stats().errors["handshake"] == 1, "it is counted")


def test_socat_as_a_client_hears_the_late_answer(model: str) -> None:
    with serve(model) as server:
        where = f"OPENSSL:localhost:{server.address.port},cafile={CA},pf=ip4"
        done = said_by("socat", "-t", "10", "-", where, given=b"hello\n")
        assert done.stdout == b"TLSv1.3 hello\ngoodbye\n", done.stderr


def test_ncat_as_a_client(model: str) -> None:
    with serve(model) as server:
        ncat = ("ncat", "--ssl", "--ssl-verify", "--ssl-trustfile", CA, "localhost", str(server.address.port))
        done = said_by(*ncat, given=b"hello\nbye\n")
        assert done.stdout == b"TLSv1.3 hello\n", done.stderr


# -- Their servers, our client -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_openssl_as_a_server(version: str) -> None:
    """`-rev` answers each line with its reverse."""
    port = free_port()
    argv = ("openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", CERT, "-key", KEY, f"-tls{version}", "-rev")
    with Peer(*argv, port=port):
        with prise.connect(f"tls:127.0.0.1:{port}", tls=client_tls(), timeout=PATIENCE) as client:
            assert client.tls.version == "TLSv" + version.replace("_", ".")
            assert client.ask("hello", timeout=PATIENCE) == "olleh"
        done = run("connect", "--ca", CA, f"tls:localhost:{port}", given=b"abc\nCLOSE\n")
        assert done.stdout == "cba\n", done.stderr


def test_openssl_as_a_server_that_asks_for_a_certificate() -> None:
    port = free_port()
    argv = ("openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", CERT, "-key", KEY, "-rev", "-CAfile", CA)
    with Peer(*argv, "-Verify", "1", "-verify_return_error", port=port):
        known = client_tls(cert=someone().cert, key=someone().key)
        with prise.connect(f"tls:127.0.0.1:{port}", tls=known, timeout=PATIENCE) as client:
            assert client.ask("hello", timeout=PATIENCE) == "olleh"
        with pytest.raises(prise.TLSError, match="asks for a client certificate, and none was given"):
            with prise.connect(f"tls:127.0.0.1:{port}", tls=client_tls(), timeout=PATIENCE) as client:
                client.ask("hello", timeout=PATIENCE)


def test_socat_as_a_server_gives_the_late_answer() -> None:
    port = free_port()
    listen = f"OPENSSL-LISTEN:{port},bind=127.0.0.1,cert={CERT},key={KEY},verify=0,reuseaddr,fork"
    with Peer("socat", "-t", "10", listen, "SYSTEM:cat; echo goodbye", port=port):
        done = run("connect", "--ca", CA, f"tls:localhost:{port}", given=b"hello\n")
        assert (done.stdout, done.returncode) == ("hello\ngoodbye\n", 0), done.stderr


def test_ncat_as_a_server() -> None:
    port = free_port()
    argv = ("ncat", "--ssl", "--ssl-cert", CERT, "--ssl-key", KEY, "-l", "-k", "127.0.0.1", str(port), "-e", "/bin/cat")
    with Peer(*argv, port=port):
        with prise.connect(f"tls:127.0.0.1:{port}", tls=client_tls(), timeout=PATIENCE) as client:
            assert client.ask("hello", timeout=PATIENCE) == "hello"
            assert client.ask("x" * 50_000, timeout=PATIENCE) == "x" * 50_000
