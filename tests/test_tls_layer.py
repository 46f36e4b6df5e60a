"""The TLS layer: what it lets through, what it says when it does not, and that no bytes at all can confuse it."""

from __future__ import annotations

import random
import ssl
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prise import TLS, ConnectionLost, TLSError, UsageError
from prise.layers.base import Layer
from prise.layers.tls import MOST_KEPT, TLSInfo
from tls_support import ENDS, Pair, authority, client_tls, localhost, pair, server_tls, someone

BIG = random.Random(2).randbytes(300_000)
MOST_HELD = 2**14 + 512
"""What a layer may keep of what arrived: one record that is not complete."""


def version(number: ssl.TLSVersion) -> TLS:
    """A client of this version only."""
    context = ssl.create_default_context(cafile=str(authority().cert))
    context.minimum_version = context.maximum_version = number
    return TLS(context=context)


ONLY_1_2 = ssl.TLSVersion.TLSv1_2
ONLY_1_3 = ssl.TLSVersion.TLSv1_3


@pytest.fixture(params=[ONLY_1_2, ONLY_1_3], ids=["1.2", "1.3"])
def client(request: Any) -> TLS:
    return version(request.param)


@pytest.fixture(params=["client", "server"])
def side(request: Any) -> str:
    found: str = request.param
    return found


def fresh(side: str) -> Layer:
    layer = server_tls().server()() if side == "server" else client_tls().client("localhost")()
    layer.begin(ENDS)
    return layer


def held(layer: Any) -> int:
    """Bytes that it keeps of what arrived."""
    pending: int = layer._incoming.pending
    return pending


def feed(layer: Layer, data: bytes, step: int = 0) -> bytes:
    """Everything, in steps; raises what the layer raises, also what it keeps for later."""
    heard = b""
    step = step or len(data) or 1
    for position in range(0, len(data), step):
        heard += layer.receive(data[position : position + step])
        if layer.error is not None:
            raise layer.error
    return heard


# -- What it carries -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1, 7])
def test_both_sides_are_ready_after_the_handshake(client: TLS, step: int) -> None:
    both = pair(None, client, step=step)
    assert both.client.ready
    assert both.server.ready
    assert not both.client.pending
    assert not both.server.pending
    assert both.errors == {}


def test_nothing_is_ready_before(side: str) -> None:
    layer = fresh(side)
    assert not layer.ready
    assert layer.info is None


@pytest.mark.parametrize("step", [0, 1, 1000])
def test_data_goes_both_ways(client: TLS, step: int) -> None:
    both = pair(None, client, step=step)
    both.say(both.client, b"ping")
    both.say(both.server, b"pong")
    both.say(both.client, b"")
    both.say(both.client, bytes(range(256)))
    assert both.heard[both.server] == b"ping" + bytes(range(256))
    assert both.heard[both.client] == b"pong"


def test_large_data_goes_both_ways(client: TLS) -> None:
    for step in (0, 1024, 16384, 100_000):
        both = pair(None, client, step=step)
        both.say(both.client, BIG)
        both.say(both.server, BIG[::-1])
        assert both.heard[both.server] == BIG
        assert both.heard[both.client] == BIG[::-1]
        assert held(both.server) == held(both.client) == 0


def test_a_record_in_part_is_pending(client: TLS) -> None:
    both = pair(None, client)
    wrapped = both.client.send(b"abc")
    for byte in wrapped[:-1]:
        assert both.server.receive(bytes([byte])) == b""
        assert both.server.pending
    assert both.server.receive(wrapped[-1:]) == b"abc"
    assert not both.server.pending


def test_what_is_sent_too_early_waits_for_the_handshake(client: TLS) -> None:
    one, two = client.client("localhost")(), server_tls().server()()
    assert two.send(b"hello") == b""
    both = Pair(one, two)
    assert both.heard[one] == b"hello"


def test_what_is_sent_too_early_has_a_bound(side: str) -> None:
    layer = fresh(side)
    layer.output()
    assert layer.send(bytes(MOST_KEPT)) == b""
    with pytest.raises(UsageError, match=f"more than {MOST_KEPT} bytes"):
        layer.send(b"x")


def test_data_that_comes_with_the_end_of_the_handshake_is_not_forgotten() -> None:
    """In TLS 1.3 the client's last words of the handshake and its first data may arrive in one piece."""
    one, two = client_tls().client("localhost")(), server_tls().server()()
    one.begin(ENDS)
    two.begin(ENDS)
    two.receive(one.output())
    one.receive(two.output())
    assert one.ready
    assert two.receive(one.output() + one.send(b"first") + one.send(b"second")) == b"firstsecond"
    assert two.ready


# -- Ends ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1])
def test_either_side_ends_its_half_and_goes_on_receiving(client: TLS, side: str, step: int) -> None:
    both = pair(None, client, step=step)
    first = both.client if side == "client" else both.server
    second = both.other(first)
    both.say(first, b"that is all")
    both.end(first)
    assert both.heard[second] == b"that is all"
    assert second.ended
    assert not second.pending
    assert not first.ended
    second.receive_end()  # the outside may end now
    answer = BIG[:20_000] if step else BIG  # byte by byte two records are enough
    both.say(second, answer)  # the late answer
    assert both.heard[first] == answer
    both.end(second)
    assert first.ended
    first.receive_end()
    assert both.errors == {}


def test_an_end_before_the_handshake_comes_behind_it(client: TLS) -> None:
    one, two = client.client("localhost")(), server_tls().server()()
    one.send(b"all of it")
    one.begin(ENDS)
    two.begin(ENDS)
    said = one.output() + one.end()
    for _ in range(4):
        two_heard = two.receive(said)
        one.receive(two.output())
        said = one.output()
        if two_heard:
            break
    assert two_heard == b"all of it"
    assert two.ended


def test_nothing_can_be_sent_behind_the_end(client: TLS, side: str) -> None:
    both = pair(None, client)
    layer = both.client if side == "client" else both.server
    both.end(layer)
    with pytest.raises(ConnectionLost, match="our half of TLS is closed"):
        layer.send(b"more")
    assert layer.end() == b""


def test_an_end_without_the_end_of_tls_was_cut_short(client: TLS, side: str) -> None:
    both = pair(None, client)
    layer = both.client if side == "client" else both.server
    both.say(both.other(layer), b"pay Alice 100")
    with pytest.raises(ConnectionLost, match="without TLS's own end"):
        layer.receive_end()


def test_an_end_in_the_middle_of_a_record_was_cut_short(client: TLS, side: str) -> None:
    both = pair(None, client)
    layer = both.client if side == "client" else both.server
    layer.receive(both.other(layer).send(b"pay Alice 100")[:-3])
    with pytest.raises(ConnectionLost, match="without TLS's own end"):
        layer.receive_end()


def test_who_hangs_up_during_the_handshake(side: str) -> None:
    layer = fresh(side)
    with pytest.raises(TLSError, match=f"the {'client' if side == 'server' else 'server'} hung up during the TLS"):
        layer.receive_end()
    layer.receive_end()  # says it once


def test_what_comes_behind_the_end_means_nothing(client: TLS) -> None:
    both = pair(None, client)
    wrapped = both.client.send(b"abc") + both.client.end()
    assert both.server.receive(wrapped + b"rubbish") == b"abc"
    assert both.server.ended
    assert both.server.receive(b"more rubbish") == b""
    assert both.server.error is None
    assert held(both.server) == 0


# -- What is known ---------------------------------------------------------------------------------------------------


def test_each_side_knows_what_was_agreed() -> None:
    both = pair(server_tls(alpn=("h2", "chat")), client_tls(alpn="chat"))
    for layer, version_ in ((both.client, "TLSv1.3"), (both.server, "TLSv1.3")):
        info: TLSInfo = layer.info
        assert (info.version, info.alpn, info.server_name) == (version_, "chat", "localhost")
        assert info.cipher.startswith("TLS_")
    seen: TLSInfo = both.client.info
    assert seen.subject == "CN=Test localhost, O=prise"
    assert seen.issuer == "CN=Test authority, O=prise"
    assert seen.names == ("localhost", "127.0.0.1", "::1")
    assert seen.fingerprint == localhost().fingerprint
    assert seen.not_after is not None
    assert seen.not_after.replace(microsecond=0) == localhost().certificate.not_valid_after_utc
    assert both.server.info.peer_certificate is None
    assert both.server.info.fingerprint is None


def test_a_server_knows_its_clients_certificate(client: TLS) -> None:
    server = server_tls(client_ca=authority().cert)
    both = pair(server, client_tls(cert=someone().cert, key=someone().key))
    assert both.server.info.subject == "CN=Test someone, O=prise"
    assert both.server.info.fingerprint == someone().fingerprint


def test_an_address_is_not_sent_as_a_name() -> None:
    """RFC 6066 §3 has no place for it; the certificate is checked against it all the same."""
    for host in ("127.0.0.1", "::1"):
        both = pair(host=host)
        assert both.errors == {}
        assert both.server.info.server_name is None


@given(st.binary(max_size=3000), st.lists(st.integers(1, 400), max_size=20))
@settings(max_examples=40, deadline=None)
def test_any_data_in_any_pieces_arrives(data: bytes, cuts: list[int]) -> None:
    both = pair()
    wrapped = both.client.send(data)
    heard = b""
    for cut in cuts:
        piece, wrapped = wrapped[:cut], wrapped[cut:]
        heard += both.server.receive(piece)
    assert heard + both.server.receive(wrapped) == data
