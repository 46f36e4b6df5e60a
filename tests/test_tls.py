"""TLS in real connections: certificates, names, versions, reloads, deadlines, STARTTLS. In all four models."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import prise
from blocking_support import until
from prise import TLS, Limits, TLSError
from tls_hellos import ACCEPTED, REFUSED, UNFINISHED
from tls_support import authority, client_tls, issue, localhost, server_tls, someone

PATIENCE = 10.0


def echo_function(connection: Any) -> None:
    for line in connection:
        connection.send(answer(connection, line))
    connection.send("goodbye")


def echo_generator(connection: Any) -> Any:
    reply = None
    try:
        while True:
            line = yield reply
            reply = answer(connection, line)
    except GeneratorExit:
        return "goodbye"


async def echo_coroutine(connection: Any) -> None:
    async for line in connection:
        await connection.send(answer(connection, line))
    await connection.send("goodbye")


def answer(connection: Any, line: str) -> str:
    """The line, or what TLS knows: `?server_name`."""
    return f"{getattr(connection.tls, line[1:])}" if line.startswith("?") else line


ECHO = {"function": echo_function, "generator": echo_generator, "coroutine": echo_coroutine}
PAIRS = [
    ("threads", "function"),
    ("processes", "function"),
    ("select", "generator"),
    ("asyncio", "coroutine"),
    ("asyncio", "generator"),
]
Pair = tuple[str, str]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request: Any) -> Pair:
    found: Pair = request.param
    return found


@pytest.fixture(params=PAIRS[:4], ids=lambda pair: pair[0])
def model(request: Any) -> Pair:
    found: Pair = request.param
    return found


def serve(pair: Pair, tls: TLS | None = None, address: str = "tls:127.0.0.1:0", **options: Any) -> prise.Server:
    options.setdefault("limits", Limits(linger_time=0.2))
    return prise.listen(ECHO[pair[1]], address, model=pair[0], tls=tls or server_tls(), **options)


def connect(server: prise.Server, tls: TLS | None = None, **options: Any) -> Any:
    return prise.connect(server.address, tls=tls or client_tls(), timeout=PATIENCE, **options)


def raw(server: prise.Server) -> socket.socket:
    return socket.create_connection((server.address.host, server.address.port), timeout=PATIENCE)


def read_all(sock: socket.socket) -> bytes:
    try:
        return b"".join(iter(lambda: sock.recv(65536), b""))
    except ConnectionResetError:
        return b""  # it went while we still had something to say


def refused(server: prise.Server, tls: TLS) -> str:
    """What the client says when it is not let in, or does not want to: in TLS 1.3 it may learn it with its first message."""
    with pytest.raises(TLSError) as raised, connect(server, tls) as client:
        client.ask("let me in", timeout=PATIENCE)
        if client.lost is not None:
            raise client.lost
    return str(raised.value)


def counted(server: prise.Server, what: str = "handshake", count: int = 1) -> None:
    until(lambda: server.stats().errors[what] == count, f"{count} of {what}")


# -- Conversations -----------------------------------------------------------------------------------------------------


def test_a_conversation_is_served_unchanged(pair: Pair) -> None:
    with serve(pair) as server:
        assert str(server.address).startswith("tls:127.0.0.1:")
        with connect(server) as client:
            assert client.ask("où", timeout=PATIENCE) == "où"
            assert client.ask("x" * 300_000, timeout=PATIENCE) == "x" * 300_000
            assert client.tls.version == "TLSv1.3"
            assert client.tls.fingerprint == localhost().fingerprint
            client.send_eof()
            assert list(client) == ["goodbye"]  # the late answer, through a half of TLS
            assert client.lost is None

        async def talk() -> None:
            async with connect(server) as client:
                for number in range(100):
                    assert await client.ask(f"{number}", timeout=PATIENCE) == f"{number}"
                await client.send_eof()
                assert [line async for line in client] == ["goodbye"]
                assert client.lost is None

        asyncio.run(talk())
    assert not any(server.stats().errors.values())


def test_many_at_the_same_time(model: Pair) -> None:
    async def one(server: prise.Server, number: int) -> None:
        async with connect(server) as client:
            for turn in range(5):
                assert await client.ask(f"{number} {turn}", timeout=PATIENCE) == f"{number} {turn}"

    async def all_of_them(server: prise.Server) -> None:
        await asyncio.gather(*(one(server, number) for number in range(20)))

    with serve(model) as server:
        asyncio.run(all_of_them(server))
    assert server.stats().total == 20
    assert server.stats().messages_received == 100
    assert server.stats().errors["handshake"] == 0


def test_what_options_of_an_address_say(model: Pair) -> None:
    address = f"tls,cert={localhost().cert},key={localhost().key},min=1.3,alpn=chat+h2:127.0.0.1:0"
    with prise.listen(ECHO[model[1]], address, model=model[0]) as server:
        port = server.address.port
        with prise.connect(f"tls,ca={authority().cert},alpn=h2:localhost:{port}", timeout=PATIENCE) as client:
            assert client.ask("?alpn", timeout=PATIENCE) == "h2"
            assert client.ask("?server_name", timeout=PATIENCE) == "localhost"


def test_an_end_without_the_end_of_tls_is_a_loss(pair: Pair) -> None:
    with serve(pair) as server:
        context = ssl.create_default_context(cafile=str(authority().cert))
        with raw(server) as plain:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(65536))
            tls.write(b"whole\nhalf")
            plain.sendall(outgoing.read())
            plain.shutdown(socket.SHUT_WR)
            incoming.write(read_all(plain))
            assert tls.read(100) == b"whole\n"
        counted(server, "lost")


# -- Names, versions, protocols ------------------------------------------------------------------------------------------


def test_two_certificates_by_name(model: Pair) -> None:
    other = issue("other", ("other.example", "*.wild.example"), issuer=authority())
    tls = server_tls(sni={"other.example": (other.cert, other.key), "*.wild.example": (other.cert, other.key)})
    with serve(model, tls) as server:
        for name, found in (
            ("localhost", localhost()),
            ("other.example", other),
            ("OTHER.example", other),
            ("a.wild.example", other),
        ):
            with connect(server, client_tls(name=name)) as client:
                assert client.ask("?server_name", timeout=PATIENCE) == name.lower()
                assert client.tls.fingerprint == found.fingerprint


def test_a_name_that_is_not_served(model: Pair) -> None:
    tls = TLS(sni={"localhost": (localhost().cert, localhost().key)})
    with serve(model, tls) as server:
        with connect(server, client_tls(name="localhost")) as client:
            assert client.ask("?server_name", timeout=PATIENCE) == "localhost"
        assert "the server does not serve the name strange.example" in refused(
            server, client_tls(name="strange.example")
        )
        counted(server)


def test_protocols_are_chosen_or_refused(model: Pair) -> None:
    with serve(model, server_tls(alpn=("two", "one"))) as server:
        for offered, chosen in ((("one", "two"), "two"), (("one",), "one"), ((), None)):
            with connect(server, client_tls(alpn=offered)) as client:
                assert client.tls.alpn == chosen
                assert client.ask("?alpn", timeout=PATIENCE) == str(chosen)


def test_the_minimum_version(model: Pair) -> None:
    old = ssl.create_default_context(cafile=str(authority().cert))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with serve(model) as server, connect(server, TLS(context=old)) as client:
        assert client.ask("?version", timeout=PATIENCE) == "TLSv1.2"
    with serve(model, server_tls(minimum="1.3")) as server:
        assert "no version of TLS in common" in refused(server, TLS(context=old))
        counted(server)
        with connect(server) as client:
            assert client.ask("?version", timeout=PATIENCE) == "TLSv1.3"


# -- Whom to trust -------------------------------------------------------------------------------------------------------


def test_a_certificate_that_is_not_to_be_trusted(model: Pair) -> None:
    """The client says what it expected and what it found, the server that it was refused."""
    stranger = issue("stranger", authority=True)
    expired = issue("expired", issuer=authority(), start=timedelta(days=-9), end=timedelta(days=-2))
    early = issue("early", issuer=authority(), start=timedelta(days=2))
    alone = issue("alone")
    wrong = "the certificate is for localhost, 127.0.0.1, ::1, not for other.example"
    cases = [
        (localhost(), client_tls(name="other.example"), wrong),
        (localhost(), client_tls(ca=stranger.cert), "not trusted: CN=Test authority, O=prise; if you trust it, give"),
        (localhost(), client_tls(ca=stranger.cert), "give its certificate with ca=FILE"),
        (localhost(), TLS(pin="ab" * 32), f"expected {'ab' * 32}, found {localhost().fingerprint}"),
        (expired, client_tls(name="localhost"), f"expired on {expired.certificate.not_valid_after_utc:%Y-%m-%d}"),
        (early, client_tls(name="localhost"), f"valid from {early.certificate.not_valid_before_utc:%Y-%m-%d}"),
        (alone, client_tls(name="localhost"), "self-signed"),
    ]
    for issued, tls, expected in cases:
        with serve(model, TLS(cert=issued.cert, key=issued.key)) as server:
            said = refused(server, tls)
            assert expected in said
            assert "connect tls" in said or "127.0.0.1" in said
            counted(server)


def test_a_pin_is_enough_and_a_wrong_one_too_much(model: Pair) -> None:
    alone = issue("pinned", ("nowhere.example",))
    with serve(model, TLS(cert=alone.cert, key=alone.key)) as server:
        colons = ":".join(alone.fingerprint[each : each + 2].upper() for each in range(0, 64, 2))
        for pin in (alone.fingerprint, f"sha256:{colons}", ["00" * 32, alone.fingerprint]):
            with connect(server, TLS(pin=pin)) as client:
                assert client.ask("hello", timeout=PATIENCE) == "hello"
        with connect(server, TLS(verify=False)) as client:
            assert client.ask("hello", timeout=PATIENCE) == "hello"
        said = refused(server, TLS(pin="00" * 32))
        assert f"expected {'00' * 32}, found {alone.fingerprint}" in said


def test_a_server_that_asks_for_a_certificate(pair: Pair) -> None:
    stranger = issue("strange-client")
    with serve(pair, server_tls(client_ca=authority().cert)) as server:
        with connect(server, client_tls(cert=someone().cert, key=someone().key)) as client:
            assert client.ask("?subject", timeout=PATIENCE) == "CN=Test someone, O=prise"
            assert client.ask("?fingerprint", timeout=PATIENCE) == someone().fingerprint
        assert "the server asks for a client certificate, and none was given" in refused(server, client_tls())
        counted(server)
        said = refused(server, client_tls(cert=stranger.cert, key=stranger.key))
        assert "the server does not accept our certificate" in said
        counted(server, count=2)


def test_a_client_certificate_that_is_pinned(model: Pair) -> None:
    tls = server_tls(client_ca=authority().cert, pin=someone().fingerprint)
    with serve(model, tls) as server:
        with connect(server, client_tls(cert=someone().cert, key=someone().key)) as client:
            assert client.ask("hello", timeout=PATIENCE) == "hello"
        with (
            pytest.raises(prise.PeerError),
            connect(server, client_tls(cert=localhost().cert, key=localhost().key)) as client,
        ):
            assert client.ask("hello", timeout=PATIENCE) != "hello"
        counted(server)


# -- Attacks ---------------------------------------------------------------------------------------------------------


def test_others_are_served_while_broken_clients_are_refused(model: Pair) -> None:
    with serve(model) as server, connect(server) as before:
        for number, (script, data) in enumerate(REFUSED.items(), 1):
            with raw(server) as client:
                try:
                    client.sendall(data)
                except ConnectionError:
                    pass  # it did not want to hear all of it
                assert b"goodbye" not in read_all(client), script
            counted(server, count=number)
            if number % 10 == 0:
                assert before.ask("still here", timeout=PATIENCE) == "still here"
        for data in (*UNFINISHED.values(), *ACCEPTED.values()):
            with raw(server) as client:
                client.sendall(data)
        assert before.ask("still here", timeout=PATIENCE) == "still here"
        with connect(server) as after:
            assert after.ask("me too", timeout=PATIENCE) == "me too"
        until(lambda: server.stats().open == 1, "all the others are gone")


def test_who_is_silent_in_the_handshake_is_let_go(model: Pair) -> None:
    limits = Limits(handshake_time=0.5, linger_time=0.2)
    with serve(model, limits=limits) as server:
        silent = [raw(server) for _ in range(5)]
        for sock, data in zip(silent, UNFINISHED.values(), strict=False):
            sock.sendall(data)
        with connect(server) as client:  # while they are silent
            assert client.ask("served meanwhile", timeout=PATIENCE) == "served meanwhile"
            for sock in silent:
                with sock:
                    assert b"goodbye" not in read_all(sock)
            counted(server, "too_slow", len(silent))
            assert client.ask("and afterwards", timeout=PATIENCE) == "and afterwards"


def test_a_plain_client_of_a_tls_server_and_the_other_way_round(model: Pair) -> None:
    with serve(model) as server:
        with raw(server) as client:
            client.sendall(b"hello\n")
            read_all(client)
        counted(server)
        with serve(model, address="tcp:127.0.0.1:0") as plain:
            with pytest.raises(TLSError, match="does it speak TLS here"):
                prise.connect(f"tls:127.0.0.1:{plain.address.port}", timeout=PATIENCE, tls=client_tls()).open()


# -- Reload ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(localhost().cert, cert)
    shutil.copy(localhost().key, key)
    return cert, key


def fingerprint_now(server: prise.Server) -> str:
    with connect(server, client_tls(name="localhost")) as client:
        client.ask("hello", timeout=PATIENCE)
        found: str = client.tls.fingerprint
        return found


@pytest.mark.parametrize("workers", [1, 2])
def test_certificates_are_read_again(model: Pair, files: tuple[Path, Path], workers: int) -> None:
    cert, key = files
    renewed = issue("renewed", issuer=authority())
    with serve(model, TLS(cert=cert, key=key), workers=workers) as server, connect(server) as before:
        assert before.ask("one", timeout=PATIENCE) == "one"
        shutil.copy(renewed.cert, cert)
        with pytest.raises(prise.UsageError, match="is not that of the certificate in"):
            server.reload()  # half of the change is done
        assert fingerprint_now(server) == localhost().fingerprint
        cert.write_text("rubbish")
        with pytest.raises(prise.UsageError, match=r"cert\.pem holds no certificate"):
            server.reload()
        assert fingerprint_now(server) == localhost().fingerprint
        shutil.copy(renewed.cert, cert)
        shutil.copy(renewed.key, key)
        server.reload()
        until(lambda: {fingerprint_now(server) for _ in range(4)} == {renewed.fingerprint}, "the new certificate")
        assert before.ask("two", timeout=PATIENCE) == "two"
        assert before.tls.fingerprint == localhost().fingerprint
    assert server.stats().errors["handshake"] == 0
