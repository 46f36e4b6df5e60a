"""The TLS layer under attack: scripts of broken handshakes, damage on the way, forged records, random bytes.

Hellos made by hand stand in tls_hellos.py; records sealed with the right keys, which OpenSSL would never send, in tls_forger.py.
"""

from __future__ import annotations

import random
import ssl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prise import TLS, PriseError, TLSError
from prise.layers.base import Layer
from tls_forger import Forger12, Forger13
from tls_hellos import (
    ACCEPTED,
    ALERT,
    CHANGE_CIPHER,
    DATA,
    GOOD,
    HANDSHAKE,
    NAME,
    REFUSED,
    TLS_1_2,
    UNFINISHED,
    hello,
    message,
    record,
    sized,
    with_extension,
)
from tls_support import ENDS, authority, client_tls, pair, server_tls

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


# -- What it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", REFUSED)
def test_a_server_refuses(script: str) -> None:
    data = REFUSED[script]
    for step in (0, 1) if len(data) < 20_000 else (0, 1000):
        layer = fresh("server")
        with pytest.raises(TLSError) as raised:
            feed(layer, data, step)
        assert not layer.ready
        assert not layer.pending
        assert str(raised.value)  # all its details are there
        with pytest.raises(TLSError):
            layer.receive(GOOD)  # it stays refused
        assert len(layer.output()) < 5000  # an alert, and perhaps the answer to a good hello before it


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # ssl's own; the error is ours
def test_a_name_that_is_not_ascii_is_refused() -> None:
    name = with_extension(NAME, sized(b"\0" + sized(b"local\xefhost\x1b[31m", 2), 2))
    with pytest.raises(TLSError, match="asked for a name that no host can have"):
        fresh("server").receive(record(HANDSHAKE, hello(more=name)))


@pytest.mark.parametrize("script", UNFINISHED)
def test_a_server_waits_for_the_rest_of_a_hello(script: str) -> None:
    layer = fresh("server")
    assert feed(layer, UNFINISHED[script]) == b""
    assert not layer.ready
    assert layer.output() == b""
    with pytest.raises(TLSError, match="hung up during the TLS handshake"):
        layer.receive_end()


@pytest.mark.parametrize("script", ACCEPTED)
@pytest.mark.parametrize("step", [0, 1000])
def test_a_server_answers(script: str, step: int) -> None:
    layer = fresh("server")
    assert feed(layer, ACCEPTED[script], step) == b""
    assert layer.output().startswith(b"\x16\3\3")
    assert layer.error is None


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail.example ESMTP\r\n",
        b"hello",
        b"\0\0\0\0\0",
    ],
)
def test_what_is_not_tls_is_shown(said: bytes) -> None:
    client = fresh("client")
    with pytest.raises(TLSError, match="the server does not speak TLS here; it sent '") as raised:
        client.receive(said)
    assert repr(said)[2:-1][:20] in str(raised.value)
    with pytest.raises(TLSError, match="the client does not speak TLS; it began with '"):
        fresh("server").receive(said)


def test_what_is_not_tls_is_shown_in_part_only() -> None:
    with pytest.raises(TLSError) as raised:
        fresh("server").receive(b"\x1b[31m" + b"x" * 10_000)
    assert len(str(raised.value)) < 200
    assert "\x1b" not in str(raised.value)


def test_clear_text_behind_tls_is_refused(client: TLS, side: str) -> None:
    both = pair(None, client)
    layer = both.client if side == "client" else both.server
    wrapped = both.other(layer).send(b"good")
    assert layer.receive(wrapped + b"injected\n") == b"good"
    assert layer.error is not None
    assert "does not speak TLS" in str(layer.error)
    with pytest.raises(TLSError):
        layer.receive(wrapped)


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_in_a_record_is_noticed(client: TLS, side: str, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(30):
        both = pair(None, client)
        layer = both.client if side == "client" else both.server
        good, bad = both.other(layer).send(b"good"), bytearray(both.other(layer).send(b"secret" * 20))
        bad[chance.randrange(5, len(bad))] ^= 1 << chance.randrange(8)
        assert layer.receive(good + bad) == b"good"
        assert "bad record MAC" in str(layer.error)


def test_records_that_are_repeated_left_out_or_exchanged_are_noticed(client: TLS) -> None:
    for order in ((0, 0), (1,), (1, 0), (0, 2)):
        both = pair(None, client)
        records = [both.client.send(each) for each in (b"one", b"two", b"three")]
        with pytest.raises(TLSError, match="bad record MAC"):
            heard = both.server.receive(b"".join(records[each] for each in order))
            if both.server.error is not None:
                assert heard == b"one"
                raise both.server.error


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # ssl's, for a name that is not ASCII
def test_a_flipped_bit_in_the_handshake_never_passes(client: TLS) -> None:
    """A few bits mean nothing (padding of an old field); then both sides agree all the same. Never only one believes it."""
    chance = random.Random(5)
    for who in ("client", "server"):
        for _ in range(60):
            one, two = client.client("localhost")(), server_tls().server()()
            one.begin(ENDS)
            two.begin(ENDS)
            try:
                said = bytearray(one.output())
                if who == "client":
                    said[chance.randrange(len(said))] ^= 1 << chance.randrange(8)
                two.receive(bytes(said))
                answer = bytearray(two.output())
                if who == "server" and answer:
                    answer[chance.randrange(len(answer))] ^= 1 << chance.randrange(8)
                one.receive(bytes(answer))
                two.receive(one.output())
                one.receive(two.output())
            except TLSError as error:
                assert str(error)  # all its details are there
            else:
                assert not (one.ready and two.ready)  # whoever did not fail still waits


# -- What a client with the right keys may do wrong ------------------------------------------------------------------


def test_forged_records_are_what_they_seem(tmp_path: Path) -> None:
    """Else the tests below would show nothing."""
    for forger in (Forger13(tmp_path), Forger12(tmp_path)):
        forger.give(forger.record(b"abc"), forger.record(b"def"))
        assert forger.pair.heard[forger.pair.server] == b"abcdef"


@pytest.mark.parametrize("kind", [Forger12, Forger13])
def test_a_flood_of_empty_records_is_ended(kind: Any, tmp_path: Path) -> None:
    forger = kind(tmp_path)
    forger.give(*(forger.record(b"") for _ in range(20)), forger.record(b"a few are harmless"))
    assert forger.pair.heard[forger.pair.server] == b"a few are harmless"
    forger.give(*(forger.record(b"") for _ in range(1000)))
    assert isinstance(forger.pair.errors[forger.pair.server], TLSError)


@pytest.mark.parametrize("kind", [Forger12, Forger13])
def test_a_flood_of_warnings_is_ended(kind: Any, tmp_path: Path) -> None:
    forger = kind(tmp_path)
    forger.give(*(forger.record(b"\1\x5a", ALERT) for _ in range(1000)))
    assert isinstance(forger.pair.errors[forger.pair.server], TLSError)


def test_renegotiation_is_refused(tmp_path: Path) -> None:
    """TLS 1.2: by a warning (RFC 5246 §7.2.2), and the talk goes on as it was; each costs a few bytes and no handshake."""
    forger = Forger12(tmp_path)
    forger.give(*(forger.record(hello(), HANDSHAKE) for _ in range(100)), forger.record(b"still here"))
    assert forger.pair.heard[forger.pair.server] == b"still here"
    warning = 5 + 8 + 2 + 16
    assert len(forger.pair.server.output()) == 100 * warning
    assert held(forger.pair.server) == 0


def test_a_second_hello_in_tls_1_3_ends_it(tmp_path: Path) -> None:
    forger = Forger13(tmp_path)
    forger.give(forger.record(b"abc"), forger.record(hello(), HANDSHAKE))
    assert forger.pair.heard[forger.pair.server] == b"abc"
    assert "unexpected message" in str(forger.pair.errors[forger.pair.server])


def test_new_keys_are_taken_and_answered_in_bounds(tmp_path: Path) -> None:
    """KeyUpdate with a request (RFC 8446 §4.6.3): each is answered by one, and never by more bytes than it had itself."""
    forger = Forger13(tmp_path)
    asked = [forger.key_update(request=True) for _ in range(500)]
    forger.give(*asked, forger.record(b"new keys"))
    assert forger.pair.heard[forger.pair.server] == b"new keys"
    assert 0 < len(forger.pair.server.output()) <= sum(map(len, asked))
    assert held(forger.pair.server) == 0


def test_what_no_record_may_be(tmp_path: Path) -> None:
    forgeries: dict[str, Any] = {
        "more than 16 KiB": lambda forger: forger.record(bytes(2**14 + 1)),
        "only padding": lambda forger: forger.record(b"", 0, 100),
        "of an unknown type": lambda forger: forger.record(b"abc", 99),
        "finished once more": lambda forger: forger.record(message(20, bytes(48)), HANDSHAKE),
        "in clear": lambda forger: record(DATA, bytes(100), TLS_1_2),
        "a close in clear": lambda forger: record(ALERT, b"\1\0", TLS_1_2),
        "change cipher": lambda forger: record(CHANGE_CIPHER, b"\1", TLS_1_2),
        "an announced size of 64 KiB": lambda forger: b"\x17\3\3\xff\xff" + bytes(100),
        "a handshake message of 16 MB": lambda forger: forger.record(b"\4\xff\xff\xff", HANDSHAKE),
    }
    for what, forge in forgeries.items():
        forger = Forger13(tmp_path)
        forger.give(forger.record(b"abc"), forge(forger))
        assert forger.pair.heard[forger.pair.server] == b"abc", what
        assert isinstance(forger.pair.errors.get(forger.pair.server), TLSError), what


@pytest.mark.parametrize("kind", [Forger12, Forger13])
def test_the_other_side_ends_it_with_an_alert(kind: Any, tmp_path: Path) -> None:
    forger = kind(tmp_path)
    forger.give(forger.record(b"abc"), forger.record(b"\2\x50", ALERT), forger.record(b"def"))
    assert forger.pair.heard[forger.pair.server] == b"abc"
    assert str(forger.pair.errors[forger.pair.server]) == "the other side ended TLS: internal error"


# -- Random bytes ----------------------------------------------------------------------------------------------------

SCRIPTS = {**REFUSED, **ACCEPTED, **UNFINISHED, "long zeroes": bytes(30_000)}
PIECES = st.lists(
    st.one_of(
        st.binary(max_size=300),
        st.builds(record, st.integers(20, 24), st.binary(max_size=300), st.sampled_from([0x0301, 0x0303])),
        st.sampled_from(list(SCRIPTS)),
        st.builds(
            lambda kind, size: record(kind, b"")[:3] + size.to_bytes(2, "big"),
            st.integers(20, 24),
            st.integers(0, 65535),
        ),
    ),
    max_size=6,
)
"""Bytes, or the name of a script."""


def survives(layer: Any, pieces: list[bytes | str]) -> None:
    """Nothing but our own errors, and nothing piles up."""
    for each in pieces:
        piece = SCRIPTS[each][:30_000] if isinstance(each, str) else each
        try:
            layer.receive(piece)
        except PriseError as error:
            assert str(error)
        assert held(layer) <= MOST_HELD
        layer.output()
    try:
        layer.receive_end()
    except PriseError:
        pass


@given(PIECES)
@settings(max_examples=150, deadline=None)
def test_random_bytes_before_the_handshake(pieces: list[bytes | str]) -> None:
    survives(fresh("server"), pieces)
    survives(fresh("client"), pieces)


@given(PIECES)
@settings(max_examples=60, deadline=None)
def test_random_bytes_after_the_handshake(pieces: list[bytes | str]) -> None:
    both = pair()
    survives(both.server, pieces)
    survives(both.client, pieces)


def test_a_record_that_never_ends_keeps_one_record_at_the_most() -> None:
    """Byte after byte: the announced size is refused as soon as it is read, or the record is complete."""
    both = pair()
    layer = both.server
    layer.receive(b"\x17\3\3\x41\x00")
    kept = 0
    try:
        for _ in range(100):
            layer.receive(bytes(1000))
            kept = max(kept, held(layer))
    except TLSError:
        pass
    else:
        pytest.fail("more than a record was taken")
    assert kept <= MOST_HELD
