"""Proxies for clients: how they are written, what the environment says, SOCKS5 and HTTP CONNECT; and real proxies."""

from __future__ import annotations

import asyncio
import base64
import copy
import pickle
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import prise
from blocking_support import PATIENCE, until
from prise import Address
from prise.clients.via import Via, chain, from_environment, parse_via, through
from prise.core.pipeline import Pipeline
from prise.errors import HandshakeError, PriseError, UsageError
from prise.framing import framing_of
from prise.layers.base import Ends, Layer
from prise.layers.httpproxy import LONGEST_HEAD, http_connect
from prise.layers.socks import REPLIES, socks5
from prise.layers.tunnel import Credentials
from tls_support import client_tls, server_tls

TARGET = Address.parse("example.com:443")
PROXY = Address.parse("localhost:1080")
LOGIN = Credentials("jean", "s3cr:et")
ENDS = Ends(PROXY, Address.parse("127.0.0.1:50000"))

BOUND_4 = b"\x05\0\0\x01\x7f\0\0\x01\x12\x34"
BOUND_6 = b"\x05\0\0\x04" + bytes(15) + b"\x01\x12\x34"
BOUND_NAME = b"\x05\0\0\x03\x05proxy\x12\x34"
OK = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\nContent-Length: 1000\r\n\r\n"


def begun(layer: Layer) -> Layer:
    layer.begin(ENDS)
    return layer


def socks(target: Address = TARGET, credentials: Credentials | None = None) -> Layer:
    return begun(socks5(target, PROXY, credentials)())


def http(target: Address = TARGET, credentials: Credentials | None = None) -> Layer:
    return begun(http_connect(target, PROXY, credentials)())


def address(text: str) -> Address:
    """An address of a scheme that parsing need not know yet."""
    scheme, _, rest = text.partition("://")
    if scheme in ("tls", "ws", "wss", "udp"):
        place = Address.parse(rest)
        return Address(scheme, place.host, place.port)
    return Address.parse(text)


# -- SOCKS5 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [BOUND_4, BOUND_6, BOUND_NAME])
@pytest.mark.parametrize(
    ("target", "request_"),
    [
        ("example.com:443", b"\x03\x0bexample.com\x01\xbb"),
        ("192.0.2.7:80", b"\x01\xc0\0\x02\x07\0\x50"),
        ("[2001:db8::7]:80", b"\x04" + bytes.fromhex("20010db8" + "0" * 22 + "07") + b"\0\x50"),
        ("bücher.example:80", b"\x03\x15xn--bcher-kva.example\0\x50"),
        (":80", b"\x03\x09localhost\0\x50"),  # the proxy's own loopback
    ],
)
def test_socks_without_a_login(target, request_, bound):
    layer = socks(Address.parse(target))
    assert layer.output() == b"\x05\x01\x00"
    assert layer.receive(b"\x05\x00") == b""
    assert layer.output() == b"\x05\x01\x00" + request_
    assert not layer.ready
    assert layer.receive(bound + b"hello") == b"hello"
    assert layer.ready
    assert (layer.output(), layer.send(b"x"), layer.receive(b"\x05\xff")) == (b"", b"x", b"\x05\xff")
    layer.receive_end()


def test_socks_with_a_login():
    layer = socks(credentials=LOGIN)
    assert layer.output() == b"\x05\x02\x00\x02"
    layer.receive(b"\x05\x02")
    assert layer.output() == b"\x01\x04jean\x07s3cr:et"
    layer.receive(b"\x01\x00")
    assert layer.output() == b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"
    layer.receive(BOUND_4)
    assert layer.ready


def test_a_socks_proxy_that_wants_no_password_is_told_none():
    layer = socks(credentials=LOGIN)
    layer.output()
    layer.receive(b"\x05\x00")
    assert layer.output() == b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"


TALKS = [
    (lambda: socks(), b"\x05\x00" + BOUND_4),
    (lambda: socks(), b"\x05\x00" + BOUND_NAME),
    (lambda: socks(credentials=LOGIN), b"\x05\x02\x01\x00" + BOUND_6),
    (lambda: http(), OK),
    (lambda: http(), b"HTTP/1.0 200\r\n\r\n"),
    (lambda: http(), b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK),
]


@pytest.mark.parametrize(("make", "answers"), TALKS)
def test_byte_by_byte_it_is_the_same_and_what_follows_belongs_to_the_inside(make, answers):
    layer = make()
    inside = b""
    for place in range(len(answers + b"hello")):
        assert layer.ready == (place >= len(answers))
        inside += layer.receive((answers + b"hello")[place : place + 1])
    assert inside == b"hello"


@pytest.mark.parametrize(("make", "answers"), TALKS)
def test_a_proxy_that_hangs_up_early_says_so(make, answers):
    for cut in range(len(answers)):
        layer = make()
        assert layer.receive(answers[:cut]) == b""
        with pytest.raises(HandshakeError, match="localhost:1080 closed the connection before it had answered"):
            layer.receive_end()


@pytest.mark.parametrize(("make", "answers"), TALKS)
def test_what_is_sent_too_early_goes_out_once_the_tunnel_stands(make, answers):
    layer = make()
    assert layer.send(b"one ") == b""
    assert b"one" not in layer.output()
    assert layer.receive(answers) == b""
    assert layer.send(b"two").endswith(b"one two")  # even when nobody asks for the rest first
    assert layer.output() == b""
    layer = make()
    layer.send(b"one ")
    layer.receive(answers)
    assert layer.output().endswith(b"one ")


@pytest.mark.parametrize("code", [*range(1, 9), 9, 255])
def test_every_socks_failure_is_a_sentence(code):
    layer = socks()
    layer.receive(b"\x05\x00")
    with pytest.raises(HandshakeError) as raised:
        layer.receive(bytes((5, code)))  # some proxies send no more than that
    expected = REPLIES.get(code, "the proxy {proxy} failed with the unknown code {code}")
    assert str(raised.value) == f"connect socks5 example.com:443: {expected.format(proxy='localhost:1080', code=code)}"


@pytest.mark.parametrize(
    ("credentials", "answers", "said"),
    [
        (None, b"\x05\xff", "wants a user name and a password"),
        (None, b"\x05\x02", "wants a user name and a password"),
        (LOGIN, b"\x05\xff", "takes neither"),
        (LOGIN, b"\x05\x01", "a login that was not offered, number 1"),
        (None, b"\x05\x80", "a login that was not offered, number 128"),
        (LOGIN, b"\x05\x02\x01\x01", "does not accept this user name and password"),
        (LOGIN, b"\x05\x02\x05\x00", "is not a SOCKS5 proxy"),
        (None, b"\x04\x5a", "is not a SOCKS5 proxy: it answered with b'\\x04Z'"),
        (None, b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not a SOCKS5 proxy: it answered with b'HTTP/1.1 400 Bad"),
        (None, b"\x05\x00\x04\x00", "is not a SOCKS5 proxy"),
        (None, b"\x05\x00\x05\x00\x00\x02\x00", "unknown kind of address, number 2"),
    ],
)
def test_what_else_can_go_wrong_with_socks(credentials, answers, said):
    with pytest.raises(HandshakeError) as raised:
        socks(credentials=credentials).receive(answers)
    assert said in str(raised.value)
    assert "s3cr" not in str(raised.value)


@given(
    st.sampled_from([b"", b"\x05", b"\x05\x00", b"\x05\x00\x05\x00", b"\x05\x02\x01\x00\x05\x00"]),
    st.binary(max_size=300),
)
@example(b"\x05\x00", b"\x05\x00\x00\x03\xff" + bytes(257))
def test_any_answer_at_all_is_a_tunnel_or_a_handshake_error(beginning, garbage):
    for layer in (socks(), socks(credentials=LOGIN)):
        try:
            inside = layer.receive(beginning + garbage)
        except HandshakeError:
            continue
        assert layer.ready or (inside == b"" and len(beginning + garbage) < 300)


@pytest.mark.parametrize("login", [Credentials("", "x"), Credentials("x" * 256), Credentials("x", "é" * 128)])
def test_a_login_that_does_not_fit_is_refused_at_once(login):
    with pytest.raises(UsageError, match="255 bytes"):
        socks5(TARGET, PROXY, login)


# -- HTTP CONNECT ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("example.com:443", b"example.com:443"),
        ("192.0.2.7:80", b"192.0.2.7:80"),
        ("[2001:db8::7]:80", b"[2001:db8::7]:80"),
        ("bücher.example:80", b"xn--bcher-kva.example:80"),
        (":80", b"localhost:80"),
    ],
)
def test_connect_asks_for_the_target(target, place):
    layer = http(Address.parse(target))
    assert layer.output() == b"CONNECT " + place + b" HTTP/1.1\r\nHost: " + place + b"\r\n\r\n"
    assert layer.receive(OK + b"hello") == b"hello"
    assert layer.ready
    assert (layer.output(), layer.send(b"x"), layer.receive(OK)) == (b"", b"x", OK)
    layer.receive_end()


def test_connect_with_a_login():
    said = http(credentials=LOGIN).output()
    assert said.endswith(b"\r\nProxy-Authorization: Basic " + base64.b64encode(b"jean:s3cr:et") + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("credentials", "answer", "said"),
    [
        (None, b"HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy localhost:1080 did not connect: 403 Forbidden"),
        (None, b"HTTP/1.1 502 \r\nA: b\r\n\r\nbody", "did not connect: 502 -"),
        (None, b"HTTP/1.1 503\r\n\r\n", "did not connect: 503 -"),
        (None, b"HTTP/1.1 101 Switching\r\n\r\n", "did not connect: 101 Switching"),
        (None, b"HTTP/1.1 302 Found\r\nLocation: x\r\n\r\n", "did not connect: 302 Found"),
        (None, b"HTTP/1.0 407 Login\r\n\r\n", "wants a user name and a password (407 Login)"),
        (LOGIN, b"HTTP/1.0 407 Login\r\n\r\n", "does not accept this user name and password (407 Login)"),
        (None, b"HTTP/1.1 500 \x1b[31m{evil}\xff\r\n\r\n", "did not connect: 500 [31m{evil}\ufffd"),
        (None, b"SSH-2.0-OpenSSH\r\n", "is not an HTTP proxy: it answered with b'SSH-2.0"),
        (None, b"\x05\xff", "is not an HTTP proxy"),
        (None, b"HTTP/2", "is not an HTTP proxy"),
        (None, b"HTTP/1.1 20 OK\r\n\r\n", "is not an HTTP proxy"),
        (None, b"HTTP/1.1 2000 OK\r\n\r\n", "is not an HTTP proxy"),
        (None, b"HTTP/1.1 200OK\r\n\r\n", "is not an HTTP proxy"),
        (None, b"HTTP/1.1  200 OK\r\n\r\n", "is not an HTTP proxy"),
    ],
)
def test_any_other_answer_is_an_error_with_its_code_and_reason(credentials, answer, said):
    with pytest.raises(HandshakeError) as raised:
        http(credentials=credentials).receive(answer)
    assert str(raised.value).startswith("connect http example.com:443: ")
    assert said in str(raised.value)
    assert "s3cr" not in str(raised.value)


def test_the_head_is_bounded():
    status = b"HTTP/1.1 200 OK\r\n"
    longest = status + b"x" * (LONGEST_HEAD - len(status) - 4) + b"\r\n\r\n"
    assert http().receive(longest + b"hello") == b"hello"
    hints = b"HTTP/1.1 100 Continue\r\n\r\n"
    for endless in (status + b"x" * LONGEST_HEAD, b"HTTP/1.1 2" + b"x" * LONGEST_HEAD, hints * 1000, b"A" + longest):
        layer = http()
        with pytest.raises(HandshakeError):
            for place in range(0, len(endless), 1000):
                layer.receive(endless[place : place + 1000])


@given(st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 ", b"HTTP/1.1 100 x\r\n\r\n"]), st.binary(max_size=60))
@example(b"HTTP/1.1 200 ", b"\n\r\n\r\n")
def test_any_head_at_all_is_a_tunnel_or_a_handshake_error(beginning, garbage):
    layer = http()
    try:
        inside = layer.receive(beginning + garbage + b"\r\n\r\n")
    except HandshakeError:
        return
    assert layer.ready or inside == b""


@pytest.mark.parametrize("make", [socks5, http_connect])
@pytest.mark.parametrize(
    "target",
    [
        Address("tcp", "*", 80),
        Address("tcp", "<broadcast>", 80),
        Address("tcp", "fe80::1%eth0", 80),
        Address("tcp", "evil\r\nX: y", 80),
        Address("tcp", "a b", 80),
        Address("tcp", "x" * 254, 80),
        Address("tcp", "é" * 100, 80),
        Address("tcp", "example.com", "http"),
        Address("tcp", "example.com", 0),
        Address("tcp", "example.com", None),
    ],
)
def test_a_target_that_no_proxy_could_find_is_refused_at_once(make, target):
    with pytest.raises(UsageError):
        make(target)


def test_a_user_with_a_colon_cannot_be_told_to_an_http_proxy():
    with pytest.raises(UsageError, match="colon"):
        http_connect(TARGET, PROXY, Credentials("a:b", "c"))


# -- How proxies are written -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "printed", "user", "password"),
    [
        ("socks5://localhost", "socks5://localhost:1080", None, None),
        ("socks5h://localhost:9050", "socks5://localhost:9050", None, None),
        ("SOCKS5://[::1]", "socks5://[::1]:1080", None, None),
        ("http://proxy.example", "http://proxy.example:80", None, None),
        ("http://proxy.example:3128/", "http://proxy.example:3128", None, None),
        ("http://jean@[2001:db8::1]:3128", "http://[2001:db8::1]:3128", "jean", ""),
        ("http://jean:s3cr%3Aet@proxy:1", "http://proxy:1", "jean", "s3cr:et"),
        ("socks5://je%40n:p@ss:w/rd@proxy:1", "socks5://proxy:1", "je@n", "p@ss:w/rd"),
        ("socks5://@proxy", "socks5://proxy:1080", None, None),
    ],
)
def test_a_proxy_is_read_and_printed_without_its_password(text, printed, user, password):
    via = parse_via(text)
    assert str(via) == printed
    assert via.credentials == (None if user is None else Credentials(user, password))
    assert parse_via(via) is via
    assert pickle.loads(pickle.dumps(via)) == via == copy.copy(via)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jean:s3cret@proxy:1080",
        "s3cret@proxy",
        "socks5:s3cret@proxy",
        "socks4://jean:s3cret@proxy",
        "https://jean:s3cret@proxy",
        "socks5://jean:s3cret@",
        "socks5://jean:s3cret",
        "socks5://jean:s3cret@proxy:port:1",
        "socks5://jean:s3cret@proxy:99999",
        "socks5://jean:s3cret@pro xy",
        "socks5://jean:s3cret@proxy/path",
        "socks5://jean:s3cret%ff@proxy",
        "socks5://jean:" + "s3cret" * 1000 + "@proxy",
    ],
)
def test_what_is_no_proxy_is_refused_and_the_password_stays_secret(text):
    with pytest.raises(UsageError) as raised:
        parse_via(text)
    shown = f"{raised.value} {raised.value!r} {raised.value.details}"
    error: BaseException = raised.value
    while error.__cause__ is not None:
        error = error.__cause__
        shown += f" {error}"
    assert "s3cret" not in shown


def test_nothing_prints_a_password():
    via = parse_via("socks5://jean:s3cret@localhost")
    _, layers = chain([via, parse_via("http://jean:s3cret@other")], TARGET)
    shown = f"{via} {via!r} {via.credentials} {layers} {[make() for make in layers]}"
    assert "s3cret" not in shown
    assert "jean" not in shown


def test_the_first_of_a_chain_is_dialled_and_leads_to_the_next():
    one, two, three = map(parse_via, ("socks5://one", "http://two:3128", "socks5://three"))
    dialled, layers = chain([one, two, three], TARGET)
    assert dialled == Address.parse("one:1080")
    pipeline = Pipeline(framing_of("chunks"), 1000, layers)
    pipeline.begin(dialled, ENDS.local)
    assert pipeline.output() == b"\x05\x01\x00"
    assert pipeline.feed(b"\x05\x00") == []
    assert pipeline.output() == b"\x05\x01\x00\x03\x03two\x0c\x38"
    assert pipeline.feed(BOUND_4) == []
    assert pipeline.output() == b"CONNECT three:1080 HTTP/1.1\r\nHost: three:1080\r\n\r\n"
    assert pipeline.feed(b"HTTP/1.1 200 OK\r\n\r\n") == []
    assert pipeline.output() == b"\x05\x01\x00"
    assert pipeline.feed(b"\x05\x00") == []
    assert pipeline.output() == b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"
    assert not pipeline.ready
    assert pipeline.feed(BOUND_4 + b"hello") == [b"hello"]
    assert pipeline.ready
    assert pipeline.wrap([b"x"]) == b"x"


def test_without_a_proxy_the_target_itself_is_dialled():
    assert chain([], TARGET) == (TARGET, [])
    assert through(TARGET, ()) == (TARGET, [])


@pytest.mark.parametrize("via", ["socks5://one", ["socks5://one"], (Via("socks5", Address.parse("one:1080")),)])
def test_callers_write_one_proxy_or_several(via):
    dialled, layers = through(TARGET, via)
    assert (dialled, len(layers)) == (Address.parse("one:1080"), 1)


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        (Address("ws", "example.com", None), b"CONNECT example.com:80 "),
        (Address("wss", "example.com", None), b"CONNECT example.com:443 "),
        (Address("tls", "example.com", 5000), b"CONNECT example.com:5000 "),
        (Address("tcp", "example.com", "http"), b"CONNECT example.com:80 "),
    ],
)
def test_services_and_schemes_become_port_numbers(target, asked):
    _, [make] = through(target, "http://proxy")
    assert begun(make()).output().startswith(asked)


@pytest.mark.parametrize("target", ["unix:/run/x.sock", "mem:test", "udp://example.com:53"])
def test_what_is_not_on_tcp_has_no_way_through_a_proxy(target):
    with pytest.raises(UsageError, match="cannot be reached through a proxy"):
        through(address(target), "socks5://proxy")


def test_an_unknown_service_is_named():
    with pytest.raises(UsageError, match="no service is called nonesuch"):
        through(Address("tcp", "example.com", "nonesuch"), "socks5://proxy")


# -- The environment ---------------------------------------------------------------------------------------------------

ALL = {"ALL_PROXY": "socks5://all"}


@pytest.mark.parametrize(
    ("target", "environ", "found"),
    [
        ("example.com:1", {}, None),
        ("example.com:1", ALL, "socks5://all:1080"),
        ("example.com:1", ALL | {"all_proxy": "small"}, "http://small:80"),  # without a scheme: HTTP, as for curl
        ("example.com:1", ALL | {"all_proxy": ""}, "socks5://all:1080"),
        ("example.com:1", {"HTTPS_PROXY": "https:1", "HTTP_PROXY": "http:1"}, None),  # neither TLS nor HTTP
        ("tls://example.com:1", ALL | {"HTTPS_PROXY": "secure:1"}, "http://secure:1"),
        ("wss://example.com:1", ALL | {"https_proxy": "secure:1", "HTTPS_PROXY": "x:1"}, "http://secure:1"),
        ("wss://example.com:1", ALL | {"HTTP_PROXY": "plain:1"}, "socks5://all:1080"),
        ("ws://example.com:1", ALL | {"HTTP_PROXY": "plain:1"}, "http://plain:1"),
        ("ws://example.com:1", ALL | {"HTTPS_PROXY": "secure:1"}, "socks5://all:1080"),
        ("ws://example.com:1", {"HTTP_PROXY": "evil:1", "REQUEST_METHOD": "GET"}, None),  # a client's header: httpoxy
        ("ws://example.com:1", {"http_proxy": "ours:1", "REQUEST_METHOD": "GET"}, "http://ours:1"),
        ("wss://example.com:1", {"HTTPS_PROXY": "ours:1", "REQUEST_METHOD": "GET"}, "http://ours:1"),
        (":1", ALL, None),
        ("localhost:1", ALL, None),
        ("LOCALHOST.:1", ALL, None),
        ("app.localhost:1", ALL, None),
        ("127.8.9.1:1", ALL, None),
        ("[::1]:1", ALL, None),
        ("[::ffff:127.0.0.1]:1", ALL, None),
        ("unix:/run/x.sock", ALL, None),
        ("mem:test", ALL, None),
        ("udp://example.com:1", ALL, None),
    ],
)
def test_the_environment_names_the_proxy(target, environ, found):
    assert [str(via) for via in from_environment(address(target), environ)] == ([found] if found else [])


@pytest.mark.parametrize(
    ("listed", "target", "direct"),
    [
        ("*", "example.com:1", True),
        ("example.com", "example.com:1", True),
        ("example.com", "EXAMPLE.com.:1", True),
        ("Example.COM", "www.example.com:1", True),
        (".example.com", "www.example.com:1", True),
        (".example.com", "example.com:1", True),
        ("*.example.com", "www.example.com:1", True),
        ("example.com", "notexample.com:1", False),
        ("example.com", "example.com.evil.test:1", False),
        ("other, example.com", "example.com:1", True),
        ("other example.com", "example.com:1", True),
        ("example.com:1", "example.com:1", True),
        ("example.com:2", "example.com:1", False),
        ("192.0.2.7", "192.0.2.7:1", True),
        ("192.0.2.7:1", "192.0.2.7:1", True),
        ("192.0.2.7:2", "192.0.2.7:1", False),
        ("192.0.2.0/24", "192.0.2.7:1", True),
        ("192.0.2.0/24", "192.0.3.7:1", False),
        ("192.0.2.0/24", "[::ffff:192.0.2.7]:1", True),
        ("2001:db8::/32", "[2001:db8::7]:1", True),
        ("2001:DB8:0::7", "[2001:db8::7]:1", True),
        ("[2001:db8::7]", "[2001:db8::7]:1", True),
        ("[2001:db8::7]:1", "[2001:db8::7]:1", True),
        ("[2001:db8::7]:2", "[2001:db8::7]:1", False),
        ("0.0.0.0/0", "example.com:1", False),  # names are not looked up for this
        ("7", "192.0.2.7:1", False),
        ("", "example.com:1", False),
        (",,.,:,[],/,:1", "example.com:1", False),
    ],
)
def test_no_proxy_lists_what_is_reached_directly(listed, target, direct):
    for name in ("no_proxy", "NO_PROXY"):
        assert (from_environment(Address.parse(target), ALL | {name: listed}) == []) is direct


def test_the_environment_is_this_processes_own(monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5://from-the-environment")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert through(TARGET, "environment")[0] == Address.parse("from-the-environment:1080")
    assert through(Address.parse(":80"), "environment") == (Address.parse(":80"), [])


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_environment_is_a_proxy_or_a_usage_error(proxy, listed):
    try:
        from_environment(TARGET, {"all_proxy": proxy, "no_proxy": listed})
    except UsageError:
        pass


# -- Real proxies ------------------------------------------------------------------------------------------------------


@contextmanager
def program(*command: str) -> Iterator[int]:
    """A proxy that listens on 127.0.0.1, on the port that this gives and that stands for PORT in its command."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    arguments = [str(port) if each == "PORT" else each for each in command]

    def answers() -> bool:
        assert process.poll() is None, f"{arguments} did not start"
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
        except ConnectionRefusedError:
            return False
        return True

    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as process:
        try:
            until(answers, f"{command[0]} listens")
            yield port
        finally:
            process.terminate()


@contextmanager
def shouting() -> Iterator[Address]:
    """A server that greets, and gives back in capitals what it is told."""

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(PATIENCE)
                sock.sendall(b"hello ")
                while data := sock.recv(65536):
                    sock.sendall(data.upper())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield Address("tcp", *listener.getsockname())
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)


def said_through(vias: Sequence[Via | str], target: Address, words: bytes) -> bytes:
    """What the target says when it is told these words and then no more."""
    dialled, layers = through(target, vias)
    pipeline = Pipeline(framing_of("chunks"), 1 << 20, layers)
    heard = b""
    with socket.create_connection((dialled.host, dialled.port), PATIENCE) as sock:
        pipeline.begin(dialled, Address("tcp", *sock.getsockname()))
        sock.sendall(pipeline.output())
        while not pipeline.ready:
            data = sock.recv(5)
            if not data:
                pipeline.decoder.end()
            heard += b"".join(pipeline.feed(data))
            sock.sendall(pipeline.output())
        sock.sendall(pipeline.wrap([words]))
        while len(heard) < len(b"hello " + words):
            data = sock.recv(65536)
            assert data, heard
            heard += b"".join(pipeline.feed(data))
    return heard


NCAT = ("ncat", "-l", "-k", "127.0.0.1", "PORT", "--proxy-type", "http")
MICROSOCKS = ("microsocks", "-i", "127.0.0.1", "-p", "PORT")


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def failure(via: str, target: Address) -> str:
    with pytest.raises(PriseError) as raised:
        said_through([via], target, b"x")
    assert isinstance(raised.value, HandshakeError)
    assert "s3cret" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_microsocks(host):
    with shouting() as target, program(*MICROSOCKS) as port:
        place = Address("tcp", host, target.port)
        assert said_through([f"socks5://127.0.0.1:{port}"], place, b"words") == b"hello WORDS"
        assert said_through([f"socks5h://jean:s3cret@127.0.0.1:{port}"], place, b"words") == b"hello WORDS"
        refused = failure(f"socks5://127.0.0.1:{port}", Address("tcp", host, unused_port()))
        assert "the target refused the connection of the proxy" in refused
        assert "is not an HTTP proxy" in failure(f"http://127.0.0.1:{port}", place)


def test_microsocks_with_a_login():
    with shouting() as target, program(*MICROSOCKS, "-u", "jean", "-P", "s3cret") as port:
        assert said_through([f"socks5://jean:s3cret@127.0.0.1:{port}"], target, b"words") == b"hello WORDS"
        assert "does not accept" in failure(f"socks5://jean:wrong-s3cret@127.0.0.1:{port}", target)
        assert "wants a user name and a password" in failure(f"socks5://127.0.0.1:{port}", target)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_ncat(host):
    with shouting() as target, program(*NCAT) as port:
        place = Address("tcp", host, target.port)
        assert said_through([f"http://127.0.0.1:{port}"], place, b"words") == b"hello WORDS"
        refused = failure(f"http://127.0.0.1:{port}", Address("tcp", host, unused_port()))
        assert f"the proxy 127.0.0.1:{port} did not connect: 5" in refused


def test_ncat_with_a_login():
    with shouting() as target, program(*NCAT, "--proxy-auth", "jean:s3cret") as port:
        assert said_through([f"http://jean:s3cret@127.0.0.1:{port}"], target, b"words") == b"hello WORDS"
        assert "does not accept this user name and password (407" in failure(f"http://jean:no@127.0.0.1:{port}", target)
        assert "wants a user name and a password (407" in failure(f"http://127.0.0.1:{port}", target)


def test_a_chain_of_both():
    with shouting() as target, program(*NCAT) as one, program(*MICROSOCKS) as two:
        proxies = [f"http://127.0.0.1:{one}", f"socks5://127.0.0.1:{two}"]
        words = b"words" * 10_000
        assert said_through(proxies, target, words) == b"hello " + words.upper()
        assert said_through(proxies[::-1] * 2, target, b"words") == b"hello WORDS"


# -- The whole way, as users go it -------------------------------------------------------------------------------------


def loud(connection: prise.Connection) -> None:
    for line in connection:
        connection.send(line.upper())


@pytest.mark.parametrize("proxy", ["http", "socks5"])
@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss"])
def test_every_transport_goes_through_a_proxy(scheme: str, proxy: str) -> None:
    with (
        program(*(NCAT if proxy == "http" else MICROSOCKS)) as port,
        prise.listen(loud, f"{scheme}:127.0.0.1:0", tls=server_tls()) as server,
    ):
        via = f"{proxy}://127.0.0.1:{port}"
        with prise.connect(server.address, via=via, tls=client_tls()) as client:
            assert client.ask("straße", timeout=PATIENCE) == "STRASSE"

        async def ask() -> object:
            async with prise.connect(server.address, via=via, tls=client_tls()) as connection:
                return await connection.ask("hello", timeout=PATIENCE)

        assert asyncio.run(ask()) == "HELLO"


def test_a_certificate_is_checked_for_the_target_not_for_the_proxy() -> None:
    with program(*MICROSOCKS) as port, prise.listen(loud, "tls:127.0.0.1:0", tls=server_tls()) as server:
        wrong = client_tls(name="elsewhere.example")
        with pytest.raises(prise.TLSError, match=r"elsewhere\.example"):
            prise.connect(server.address, via=f"socks5://127.0.0.1:{port}", tls=wrong).open().handshake()


def test_a_proxy_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        via = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(prise.TooSlow):
            prise.connect("127.0.0.1:1", via=via, limits=prise.Limits(handshake_time=0.2)).open().handshake()
