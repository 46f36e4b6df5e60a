"""STARTTLS: a conversation that begins in clear and goes on encrypted. Every spelling, on both sides."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

import prise
from blocking_support import until
from prise import FrameError, Limits, TLSError
from tls_support import client_tls, localhost, server_tls, someone

PATIENCE = 10.0
PAIRS = [
    (model, spelling)
    for model in ("threads", "processes", "select", "asyncio")
    for spelling in ("function", "generator", "coroutine")
    if spelling != "function" or model in ("threads", "processes")
]
Pair = tuple[str, str]
SERVER = server_tls()  # made before any thread or process begins


def secret(connection: Any, line: str) -> str:
    return f"{connection.tls.version} {line}"


def upgrade_function(connection: Any) -> None:
    for line in connection:
        connection.send("go ahead" if line == "STARTTLS" else f"clear {line}")
        if line == "STARTTLS":
            connection.start_tls(SERVER)
            break
    for line in connection:
        connection.send(secret(connection, line))


def upgrade_generator(connection: Any) -> Any:
    line = yield None
    while line != "STARTTLS":
        line = yield f"clear {line}"
    connection.send("go ahead")
    connection.start_tls(SERVER)
    line = yield None
    while True:
        line = yield secret(connection, line)


async def upgrade_coroutine(connection: Any) -> None:
    async for line in connection:
        await connection.send("go ahead" if line == "STARTTLS" else f"clear {line}")
        if line == "STARTTLS":
            await connection.start_tls(SERVER)
            break
    async for line in connection:
        await connection.send(secret(connection, line))


UPGRADE = {"function": upgrade_function, "generator": upgrade_generator, "coroutine": upgrade_coroutine}


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request: Any) -> Pair:
    found: Pair = request.param
    return found


def serve(pair: Pair, **limits: Any) -> prise.Server:
    model, spelling = pair
    return prise.listen(
        UPGRADE[spelling], "127.0.0.1:0", model=model, limits=Limits(linger_time=0.2, handshake_time=5.0, **limits)
    )


def test_a_blocking_client_upgrades(pair: Pair) -> None:
    with serve(pair) as server, prise.connect(("localhost", server.address.port), timeout=PATIENCE) as client:
        assert client.ask("one", timeout=PATIENCE) == "clear one"
        assert not client.tls
        assert client.ask("STARTTLS", timeout=PATIENCE) == "go ahead"
        client.start_tls(client_tls())
        assert client.tls.fingerprint == localhost().fingerprint
        assert client.ask("two", timeout=PATIENCE) == "TLSv1.3 two"
        assert client.ask("x" * 200_000, timeout=PATIENCE) == "TLSv1.3 " + "x" * 200_000
        client.send_eof()
        assert list(client) == []
        assert client.lost is None


def test_an_asynchronous_client_upgrades(pair: Pair) -> None:
    async def talk(server: prise.Server) -> None:
        async with prise.connect(("127.0.0.1", server.address.port), timeout=PATIENCE) as client:
            assert await client.ask("one", timeout=PATIENCE) == "clear one"
            assert await client.ask("STARTTLS", timeout=PATIENCE) == "go ahead"
            await client.start_tls(client_tls(), "localhost")
            for number in range(20):
                assert await client.ask(f"{number}", timeout=PATIENCE) == f"TLSv1.3 {number}"
            await client.send_eof()
            assert [line async for line in client] == []
            assert client.lost is None

    with serve(pair) as server:
        asyncio.run(talk(server))


def test_lines_injected_in_clear_are_never_heard(pair: Pair) -> None:
    """What an attacker adds behind STARTTLS must not be taken for the words of who comes encrypted (CVE-2011-0411)."""
    with serve(pair) as server, socket.create_connection(("127.0.0.1", server.address.port), PATIENCE) as client:
        client.sendall(b"STARTTLS\ninjected\n")
        said = b"".join(iter(lambda: client.recv(65536), b""))
        assert said == b"go ahead\n"
        until(lambda: server.stats().errors["frame"] == 1, "it is counted")


def test_words_in_clear_where_tls_should_begin_are_refused(pair: Pair) -> None:
    with serve(pair) as server, socket.create_connection(("127.0.0.1", server.address.port), PATIENCE) as client:
        client.sendall(b"STARTTLS\n")
        assert client.recv(100) == b"go ahead\n"
        client.sendall(b"injected later\n")
        said = b"".join(iter(lambda: client.recv(65536), b""))
        assert b"injected" not in said
        until(lambda: server.stats().errors["handshake"] == 1, "it is counted")


def test_a_client_that_falls_silent_is_let_go(pair: Pair) -> None:
    model, spelling = pair
    limits = Limits(linger_time=0.2, handshake_time=0.3)
    with prise.listen(UPGRADE[spelling], "127.0.0.1:0", model=model, limits=limits) as server:
        with socket.create_connection(("127.0.0.1", server.address.port), PATIENCE) as client:
            client.sendall(b"STARTTLS\n")
            assert b"".join(iter(lambda: client.recv(65536), b"")) == b"go ahead\n"
        until(lambda: server.stats().errors["too_slow"] == 1, "it is counted")


def test_a_client_refuses_what_is_injected_to_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with prise.connect(listener.getsockname(), timeout=PATIENCE) as client:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"go ahead\ninjected\n")
                assert client.ask("STARTTLS", timeout=PATIENCE) == "go ahead"
                with pytest.raises(FrameError, match="clear"):
                    client.start_tls(client_tls())


def test_a_client_does_not_go_on_with_a_stranger() -> None:
    with serve(("threads", "function")) as server:
        for tls, name in ((client_tls(), "other.example"), (client_tls(ca=someone().cert), "localhost")):
            with prise.connect(server.address, timeout=PATIENCE) as client:
                assert client.ask("STARTTLS", timeout=PATIENCE) == "go ahead"
                with pytest.raises(TLSError, match=r"the (server's )?certificate (is for|comes from)"):
                    client.start_tls(tls, name)
                with pytest.raises(TLSError):
                    client.send("my password")
