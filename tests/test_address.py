"""Addresses: every form that is read, how it prints, and what is said about text that is no address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prise.address import SCHEMES, Address
from prise.errors import AddressError, UsageError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tcp://localhost:50000", "localhost", 50000),
        ("tcp:localhost:50000", "localhost", 50000),
        ("TCP://localhost:50000", "localhost", 50000),
        ("localhost:50000", "localhost", 50000),
        ("example.org:http", "example.org", "http"),
        ("été.example:80", "été.example", 80),
        (":50000", None, 50000),  # loopback
        (":http", None, "http"),
        ("*:50000", "*", 50000),  # every interface
        ("127.0.0.1:080", "127.0.0.1", 80),
        ("[::1]:80", "::1", 80),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("<broadcast>:9", "<broadcast>", 9),
        ("3232235777:80", "192.168.1.1", 80),  # an integer host is a 32-bit IPv4 address
        ("0:80", "0.0.0.0", 80),
    ],
)
def test_tcp(text: str, host: str | None, port: int | str) -> None:
    assert Address.parse(text) == Address("tcp", host, port)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("unix:/run/x.sock", "/run/x.sock"),
        ("unix:///run/x.sock", "/run/x.sock"),
        ("/run/x.sock", "/run/x.sock"),
        ("./x.sock", "./x.sock"),
        ("../x.sock", "../x.sock"),
        ("unix:x.sock", "x.sock"),
        ("unix:@abstract", "@abstract"),
        ("unix:/with:colon,comma=and space", "/with:colon,comma=and space"),  # the rest is literal
        ("unix:", ""),  # what an unnamed socket prints
    ],
)
def test_unix(text: str, path: str) -> None:
    assert Address.parse(text) == Address("unix", path=path)


def test_mem() -> None:
    assert Address.parse("mem:test:1") == Address("mem", path="test:1")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (50000, ":50000"),  # a bare port number is on loopback
        (("localhost", 80), "localhost:80"),
        (("localhost", "http"), "localhost:http"),
        (("", 80), "*:80"),  # to `socket`, the empty host is every interface
        (("<broadcast>", 80), "<broadcast>:80"),
        ((3232235777, "80"), "192.168.1.1:80"),
        (("::1", 80), "[::1]:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        (("fe80::1", 80, 0, 2), "[fe80::1%2]:80"),
        (("fe80::1%eth0", 80), "[fe80::1%eth0]:80"),
        (Path("/run/x.sock"), "unix:/run/x.sock"),
        (Path("@file"), "unix:./@file"),  # a file, not an abstract name
    ],
)
def test_what_is_not_text(source: Any, text: str) -> None:
    assert str(Address.parse(source)) == text
    assert Address.parse(source) == Address.parse(text)


def test_an_address_is_its_own_address() -> None:
    address = Address.parse(":50000")
    assert Address.parse(address) is address
    assert {address: 1}[Address.parse("tcp://:50000")] == 1


def test_options_stand_before_the_colon() -> None:
    address = Address.parse("tcp,nodelay=no,reuseport,backlog=7:*:80")
    assert address.option("nodelay") == "no"
    assert address.option("keepalive", "none") == "none"
    assert address.setting("nodelay") is False
    assert address.setting("reuseport") is True
    assert address.setting("backlog") == 7
    assert address.setting("keepalive", False) is False
    assert str(address) == "tcp,nodelay=no,reuseport=yes,backlog=7:*:80"
    assert str(address.without_options()) == "*:80"
    assert Address.parse("unix,mode=0660:/run/x.sock").setting("mode") == 0o660


def test_a_host_called_like_a_scheme_keeps_its_scheme_in_print() -> None:
    assert str(Address.parse("tcp:unix:80")) == "tcp:unix:80"
    assert str(Address.parse("tcp:udp:80")) == "tcp:udp:80"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "the port is missing"),
        ("localhost", "the port is missing; example: localhost:50000"),
        ("50000", "the port is missing; example: :50000"),
        ("localhost:", "the port is missing"),
        ("[::1]", "the port is missing"),
        ("localhost:65536", "the port 65536 is out of range"),
        ("localhost:-1", "the port -1 is out of range"),
        ("localhost:" + "9" * 9999, "out of range"),
        ("localhost: 80", "' 80' is not a port"),
        ("localhost:80/", "'80/' is not a port"),
        ("::1:80", "stands in brackets"),
        ("fe80::1%eth0", "stands in brackets"),
        ("[::1:80", "is not closed"),
        ("[::1]80", "comes a colon and the port, not '80'"),
        ("[127.0.0.1]:80", "'127.0.0.1' is not an IPv6 address"),
        ("[fe80::1%]:80", "not an IPv6 address"),
        ("300.1.1.1:80", "300.1.1.1 is not an IPv4 address"),
        ("127.1:80", "it has four numbers"),
        ("010.0.0.1:80", "it has four numbers"),
        ("4294967296:80", "above 4294967295"),
        ("user@host:22", "'@' cannot be in the host"),
        ("a b:80", "' ' cannot be in the host"),
        ("a" * 254 + ":80", "at most 253"),
        ("localhost:80:90", "more than one colon"),
        ("tpc://localhost:80", "unknown scheme tpc; did you mean tcp? Known: tcp, "),
        ("unixx:/tmp/x", "did you mean unix?"),
        ("gopher://localhost:70", "unknown scheme gopher; known: tcp, "),
        ("tcp,mode=600:localhost:80", "tcp has no option 'mode'; it has: backlog, "),
        ("mem,mode=600:x", "mem has no option 'mode'"),
        ("tcp,nodelay=perhaps:localhost:80", "nodelay cannot be 'perhaps'; write for example nodelay=no"),
        ("tcp,backlog:localhost:80", "backlog cannot be ''"),
        ("tcp,family=IPv6:localhost:80", "write for example family=AF_INET6"),
        ("tcp,nodelay,nodelay:localhost:80", "nodelay is given twice"),
        ("unix,mode=999:/x", "mode cannot be '999'"),
        ("/a\0b", "NUL"),
        ("mem:", "the name is missing"),
        (("localhost",), "a tuple is (host, port)"),
        (("localhost", None), "the port a number or a service name"),
        (("localhost", 80, "0"), "a tuple is"),
        (("::zz", 80), "not an IPv6 address"),
        (None, "not an address: give text"),
        (True, "not an address: give text"),
        (b"localhost:80", "not an address: give text"),
        (70000, "out of range"),
    ],
)
def test_what_is_wrong_is_said(source: Any, said: str) -> None:
    with pytest.raises(AddressError) as caught:
        Address.parse(source)
    assert said in str(caught.value)
    assert isinstance(caught.value, (UsageError, ValueError))
    assert caught.value.exit_code == 2


names = st.from_regex(r"[A-Za-z0-9_é][A-Za-z0-9_.é-]{0,20}", fullmatch=True).filter(
    lambda name: not set(name) <= set("0123456789.")
)
hosts = st.one_of(
    st.none(),
    st.sampled_from(["*", "<broadcast>", "fe80::1%eth0", *SCHEMES, "udp", "fd"]),
    names,
    st.ip_addresses().map(str),
)
ports = st.one_of(st.integers(0, 65535), st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True))
options = st.dictionaries(st.sampled_from(["nodelay", "keepalive", "reuseport"]), st.sampled_from(["yes", "no", "1"]))
paths = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
addresses = st.one_of(
    st.builds(lambda host, port, more: Address("tcp", host, port, None, tuple(more.items())), hosts, ports, options),
    st.builds(lambda path: Address("unix", path=path), paths),
    st.builds(lambda path: Address("mem", path=path), paths.filter(bool)),
)


@given(addresses)
@example(Address("unix", path="//x"))
@example(Address("unix", path="\n"))
def test_print_then_read_is_the_same_address(address: Address) -> None:
    assert Address.parse(str(address)) == address


@given(st.text() | st.text("abc019.:/,=[]%*@-<> "))
@example("ws,origin=[a[]:h:1/")  # brackets in brackets: which ones quote?
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except AddressError:
        pass
    else:
        assert Address.parse(str(address)) == address
