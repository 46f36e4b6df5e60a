"""The PROXY protocol: headers read however the reads were split, forged ones refused, and HAProxy at either end."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocking_support import PATIENCE, read_all
from prise import Address
from prise.core.pipeline import Pipeline
from prise.errors import HandshakeError, UsageError
from prise.framing import framing_of
from prise.layers.base import Ends, Layer
from prise.layers.proxy import Header, ProxyHeader, SendProxyHeader, Trusted, proxy_from, send_proxy
from prise.layers.proxyheader import LONGEST_2, SIGNATURE_2, crc32c

CLIENT, SERVER = Address.parse("192.0.2.7:56324"), Address.parse("198.51.100.1:443")
CLIENT_6, SERVER_6 = Address.parse("[2001:db8::7]:56324"), Address.parse("[2001:db8::1]:443")
BALANCER, HERE = Address.parse("10.0.0.9:4711"), Address.parse("10.0.0.1:443")
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"


def v2(command: int, family: int, body: bytes, announced: int | None = None) -> bytes:
    return SIGNATURE_2 + bytes((command, family)) + (len(body) if announced is None else announced).to_bytes(2) + body


def tlv(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + len(value).to_bytes(2) + value


PLACES_4 = bytes((192, 0, 2, 7, 198, 51, 100, 1)) + (56324).to_bytes(2) + (443).to_bytes(2)
BINARY = v2(0x21, 0x11, PLACES_4)


def incoming(networks: str = "*", peer: Address = BALANCER) -> ProxyHeader:
    layer = proxy_from(networks)()
    assert isinstance(layer, ProxyHeader)
    layer.begin(Ends(peer, HERE))
    return layer


def refused(data: bytes, networks: str = "*") -> str:
    with pytest.raises(HandshakeError) as raised:
        incoming(networks).receive(data)
    return str(raised.value)


# -- A header, and what comes after it ---------------------------------------------------------------------------------

HEADERS = [
    (LINE, CLIENT, SERVER),
    (b"PROXY TCP6 2001:db8::7 2001:DB8:0:0::1 56324 443\r\n", CLIENT_6, SERVER_6),
    (
        b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n",
        Address("tcp", "0.0.0.0", 0),
        Address("tcp", "255.255.255.255", 65535),
    ),
    (b"PROXY UNKNOWN\r\n", None, None),
    (b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", None, None),  # 107 bytes: all that follows the word is to be ignored
    (BINARY, CLIENT, SERVER),
    (v2(0x21, 0x12, PLACES_4), Address("udp", "192.0.2.7", 56324), Address("udp", "198.51.100.1", 443)),
    (
        v2(
            0x21, 0x21, bytes.fromhex("20010db8" + "0" * 22 + "07" + "20010db8" + "0" * 22 + "01") + b"\xdc\x04\x01\xbb"
        ),
        CLIENT_6,
        SERVER_6,
    ),
    (
        v2(0x21, 0x31, b"/run/client".ljust(108, b"\0") + b"\0abstract".ljust(108, b"\0")),
        Address("unix", path="/run/client"),
        Address("unix", path="@abstract"),
    ),
    (v2(0x21, 0x31, bytes(216)), Address("unix", path=""), Address("unix", path="")),
    (v2(0x20, 0x00, b""), None, None),  # LOCAL: the load balancer itself, a health check
    (v2(0x20, 0x11, PLACES_4), None, None),
    (v2(0x20, 0xFF, b"whatever"), None, None),
    (v2(0x21, 0x00, b"skipped"), None, None),
]


@pytest.mark.parametrize(("header", "peer", "local"), HEADERS)
def test_the_header_names_the_client_and_the_rest_passes_untouched(header, peer, local):
    layer = incoming()
    assert not layer.ready
    assert layer.receive(header + b"hello\r\nPROXY") == b"hello\r\nPROXY"
    assert layer.ready
    assert (layer.peer, layer.local) == (peer, local)
    assert layer.receive(LINE + BINARY) == LINE + BINARY  # only the first header is one
    assert (layer.peer, layer.local) == (peer, local)
    assert layer.send(b"bye") == b"bye"
    assert layer.output() == b""
    layer.receive_end()


@pytest.mark.parametrize(("header", "peer", "local"), HEADERS)
def test_byte_by_byte_it_is_the_same(header, peer, local):
    layer = incoming()
    inside = b""
    for place in range(len(header + b"hello")):
        assert layer.ready == (place >= len(header))
        inside += layer.receive((header + b"hello")[place : place + 1])
    assert (layer.peer, layer.local, inside) == (peer, local, b"hello")


@pytest.mark.parametrize("header", [header for header, _, _ in HEADERS])
def test_a_connection_that_ends_within_the_header_says_so(header):
    for cut in (0, 1, 5, 6, 12, len(header) - 1):
        layer = incoming()
        assert layer.receive(header[:cut]) == b""
        with pytest.raises(HandshakeError, match="ended before it was complete"):
            layer.receive_end()


@given(st.lists(st.integers(0, 200)), st.sampled_from([header for header, _, _ in HEADERS]), st.binary(max_size=50))
def test_any_split_gives_the_same(cuts, header, rest):
    layer = incoming()
    data = header + rest
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    inside = b"".join(layer.receive(data[one:other]) for one, other in pairwise(places))
    assert inside == rest


@given(
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE_2, SIGNATURE_2 + b"\x21", BINARY[:14]]),
    st.binary(max_size=300),
)
def test_any_bytes_at_all_are_a_header_or_a_handshake_error(beginning, garbage):
    layer = incoming()
    try:
        layer.receive(beginning + garbage)
    except HandshakeError:
        return
    assert layer.ready or len(beginning + garbage) <= LONGEST_2 + 16


# -- Strictness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 1\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1  56324 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 056324 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 65536\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 -1\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 +1\r\n",
        b"PROXY TCP4 192.0.2.07 198.51.100.1 56324 443\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.1 56324 443\r\n",
        b"PROXY TCP4 192.0.2 198.51.100.1 56324 443\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n",
        b"PROXY TCP6 192.0.2.7 198.51.100.1 56324 443\r\n",
        b"PROXY TCP6 2001:db8::7 198.51.100.1 56324 443\r\n",
        b"PROXY TCP6 fe80::1%eth0 2001:db8::1 56324 443\r\n",
        b"PROXY TCP6 20010:db8::7 2001:db8::1 56324 443\r\n",
        b"PROXY TCP4 localhost 198.51.100.1 56324 443\r\n",
        b"PROXY tcp4 192.0.2.7 198.51.100.1 56324 443\r\n",
        b"PROXY UDP4 192.0.2.7 198.51.100.1 56324 443\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 ٤٤٣\r\n".encode(),
        b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",  # 108 bytes
        b"PROXY TCP4 " + b"1" * 200,
    ],
)
def test_a_v1_line_that_is_not_exactly_right_is_refused(line):
    message = refused(line)
    assert "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443" in message  # what was expected
    assert repr(line[:20])[2:-1] in message  # what was found


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (v2(0x11, 0x11, PLACES_4), "version 1, command 1"),
        (v2(0x22, 0x11, PLACES_4), "version 2, command 2"),
        (v2(0x21, 0x41, PLACES_4), "family 0x41"),
        (v2(0x21, 0x13, PLACES_4), "family 0x13"),
        (v2(0x21, 0x11, PLACES_4[:-1]), "11 bytes for its addresses; they take 12"),
        (v2(0x21, 0x21, PLACES_4), "12 bytes for its addresses; they take 36"),
        (v2(0x21, 0x31, bytes(215)), "215 bytes for its addresses; they take 216"),
        (v2(0x21, 0x11, b"", announced=4097), "announces 4097 bytes; 4096 are allowed"),
        (v2(0x21, 0x11, PLACES_4 + b"\x02"), "goes beyond its end"),
        (v2(0x21, 0x11, PLACES_4 + b"\x02\0"), "goes beyond its end"),
        (v2(0x21, 0x11, PLACES_4 + b"\x02\0\x05name"), "goes beyond its end"),
        (v2(0x21, 0x11, PLACES_4 + tlv(3, b"\1\2\3\4")), "checksum"),
        (v2(0x21, 0x11, PLACES_4 + tlv(3, b"\1\2\3")), "checksum"),
    ],
)
def test_a_v2_header_that_is_not_exactly_right_is_refused(header, said):
    assert said in refused(header)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"PROXX", b"\r\n\r\nhello", b"\x16\x03\x01"])
def test_a_trusted_peer_must_send_a_header(data):
    assert refused(data) == f"10.0.0.9:4711 is trusted to send a PROXY header first, but it began with {data[:16]!r}"


def test_the_longest_header_is_taken():
    header = v2(0x21, 0x11, PLACES_4 + tlv(0xE0, bytes(LONGEST_2 - 12 - 3)))
    assert incoming().receive(header + b"!") == b"!"


# -- TLVs --------------------------------------------------------------------------------------------------------------


def with_checksum(body: bytes) -> bytes:
    header = v2(0x21, 0x11, body + tlv(3, bytes(4)))
    return header[:-4] + crc32c(header).to_bytes(4)


def test_what_else_the_header_says_is_kept_by_type():
    layer = incoming()
    layer.receive(
        v2(0x21, 0x11, PLACES_4 + tlv(1, b"h2") + tlv(4, b"padding") + tlv(2, b"example.com") + tlv(2, b"evil"))
    )
    assert layer.tlvs == {1: b"h2", 2: b"example.com"}
    assert layer.info == Header(2, CLIENT, SERVER, {1: b"h2", 2: b"example.com"})


def test_the_checksum_is_castagnolis():
    assert crc32c(b"123456789") == 0xE3069283  # the check value of this CRC in every catalogue
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4


def test_a_right_checksum_passes_and_one_changed_bit_anywhere_does_not():
    header = with_checksum(PLACES_4 + tlv(2, b"example.com"))
    assert incoming().receive(header + b"!") == b"!"
    for place in (16, 20, 24, 27, 31, len(header) - 1):
        assert "checksum" in refused(header[:place] + bytes((header[place] ^ 1,)) + header[place + 1 :])


# -- Trust -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("networks", "peer", "trusted"),
    [
        ("127.0.0.1", "127.0.0.1:1", True),
        ("127.0.0.1", "127.0.0.2:1", False),
        ("127.0.0.1", "[::1]:1", False),
        ("localhost", "127.3.2.1:1", True),
        ("localhost", "[::1]:1", True),
        ("10.0.0.0/8+::1", "10.255.0.1:1", True),
        ("10.0.0.0/8+::1", "[::1]:1", True),
        ("10.0.0.0/8+::1", "11.0.0.1:1", False),
        ("10.0.0.0/8", "[::ffff:10.0.0.1]:1", True),  # the same peer, on a socket of both families
        ("[fd00::]/8", "[fd12::1]:1", True),
        ("[fd00::/8]+[::1]", "[::1]:1", True),
        ("fe80::/10", "[fe80::1%lo]:1", True),
        ("unix", "unix:/run/x.sock", True),
        ("unix", "unix:", True),
        ("unix", "127.0.0.1:1", False),
        ("127.0.0.1", "unix:/run/x.sock", False),
        ("127.0.0.1+unix", "unix:", True),
        ("*", "[2001:db8::1]:1", True),
        ("*", "unix:", True),
        ("127.0.0.1", "mem:test", False),
        ("0.0.0.0/0", "localhost:1", False),  # peers have addresses; a name proves nothing
    ],
)
def test_who_is_trusted(networks, peer, trusted):
    assert (Address.parse(peer) in Trusted(networks)) is trusted
    assert incoming(networks, Address.parse(peer)).ready is not trusted  # who is not, is served at once


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        ("", "'' is not a network"),
        ("10.0.0.0/8+", "'' is not a network"),
        ("10.0.0.1/8", "write for example 10.0.0.0/8"),
        ("10.0.0.0/33", "'10.0.0.0/33' is not a network"),
        ("[::1", "'[::1' is not a network"),
        ("example.com", "'example.com' is not a network"),
    ],
)
def test_a_wrong_network_is_refused_at_once(networks, said):
    with pytest.raises(UsageError) as raised:
        proxy_from(networks)
    assert said in str(raised.value)


@pytest.mark.parametrize("header", [LINE, BINARY, b"PROXY UNKNOWN\r\n", v2(0x20, 0, b"")])
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_header_from_somebody_else_is_forged(header, step):
    layer = incoming("192.168.0.0/16")
    assert layer.ready
    passed = b""
    with pytest.raises(HandshakeError) as raised:
        for place in range(0, len(header), step):
            passed += layer.receive(header[place : place + step])
    assert str(raised.value) == (
        "10.0.0.9:4711 sends a PROXY header but is not trusted; allow it with proxy-from=10.0.0.9, if it is yours"
    )
    assert (layer.peer, layer.local) == (None, None)
    assert len(passed) < 12  # less than what makes it a header; nothing that it says


@given(
    st.lists(
        st.one_of(st.binary(max_size=8), st.sampled_from([b"P", b"PROXY", b"\r\n", b"\r\n\r\n\0\r\nQUIT"])), max_size=5
    )
)
def test_others_are_served_at_once_and_nothing_of_theirs_is_held_back(reads):
    data = b"".join(reads)
    layer = incoming("192.168.0.0/16")
    if data.startswith((b"PROXY ", SIGNATURE_2)):
        return
    assert [layer.receive(read) for read in reads] == reads
    layer.receive_end()


# -- Outgoing ----------------------------------------------------------------------------------------------------------


def sent(version: int, source: Address | None, destination: Address | None) -> Header:
    """What a receiver reads in the header that goes first."""
    layer = send_proxy(version, source, destination)()
    layer.begin(Ends(SERVER, CLIENT))
    said = layer.output() + layer.send(b"hello") + layer.output()
    reader = incoming()
    assert reader.receive(said) == b"hello"
    assert isinstance(reader.info, Header)
    assert reader.info.version == version
    return reader.info


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("source", "destination"),
    [
        (CLIENT, SERVER),
        (CLIENT_6, SERVER_6),
        (Address("tcp", "0.0.0.0", 0), Address("tcp", "255.255.255.255", 65535)),
        (Address("unix", path="/run/a"), Address("unix", path="@b")),
        (Address("unix", path=""), Address("unix", path="/" + "x" * 107)),
    ],
)
def test_what_is_sent_is_what_is_read(version, source, destination):
    header = sent(version, source, destination)
    unknown = version == 1 and source.scheme == "unix"  # v1 has no word for Unix sockets
    assert (header.peer, header.local) == ((None, None) if unknown else (source, destination))


def test_without_addresses_it_tells_of_the_connection_itself():
    assert sent(1, None, None)[1:3] == (CLIENT, SERVER)
    assert sent(2, None, None)[1:3] == (CLIENT, SERVER)


@pytest.mark.parametrize("version", [1, 2])
def test_families_that_differ_meet_in_ipv6(version):
    header = sent(version, CLIENT, SERVER_6)
    assert header.peer in (Address("tcp", "::ffff:c000:207", 56324), Address("tcp", "::ffff:192.0.2.7", 56324))
    assert header.local == SERVER_6


@pytest.mark.parametrize("source", ["mem:test", "localhost:1", "127.0.0.1:http", "unix:/x", ":1"])
def test_an_origin_that_cannot_be_told_is_unknown(source):
    assert sent(1, Address.parse(source), SERVER)[1:3] == (None, None)
    assert sent(2, Address.parse(source), SERVER)[1:3] == (None, None)


def test_the_header_goes_first_even_when_nobody_asked_for_it():
    layer = SendProxyHeader(1, CLIENT, SERVER)
    layer.begin(Ends(SERVER, CLIENT))
    assert layer.send(b"hello") == LINE + b"hello"
    assert layer.output() == b""
    assert layer.receive(LINE) == LINE


def test_other_versions_do_not_exist():
    with pytest.raises(UsageError, match="not 3"):
        send_proxy(3)


def test_in_a_pipeline_the_connection_is_the_clients():
    pipeline = Pipeline(framing_of("lines"), 1000, [proxy_from("10.0.0.0/8")])
    pipeline.begin(BALANCER, HERE)
    assert not pipeline.ready
    assert pipeline.feed(LINE + b"hello\n") == ["hello"]
    assert pipeline.ready
    assert (pipeline.peer, pipeline.local) == (CLIENT, SERVER)
    assert pipeline.info("proxy").version == 1


# -- HAProxy -----------------------------------------------------------------------------------------------------------


def place(sockaddr: Sequence[object]) -> Address:
    return Address("tcp", str(sockaddr[0]), int(str(sockaddr[1])))


@contextmanager
def haproxy(folder: Path, bind: str, server: str) -> Iterator[int]:
    """HAProxy between us and us: what is said to the port that this gives goes to a server."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        pytest.skip("haproxy is not installed")
    settings = folder / "haproxy.cfg"
    # The listening socket is ours: the kernel keeps who comes before HAProxy is ready.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        settings.write_text(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 5s\n timeout server 5s\n"
            f"listen test\n bind fd@{number} {bind}\n server one {server}\n"
        )
        with subprocess.Popen([program, "-q", "-db", "-f", settings], pass_fds=[number]) as process:
            try:
                yield int(listener.getsockname()[1])
            finally:
                process.kill()


def received(sock: socket.socket, layer: Layer) -> bytes:
    """Everything that the peer says, through the layer, until it ends."""
    layer.begin(Ends(place(sock.getpeername()), place(sock.getsockname())))
    inside = b""
    while data := sock.recv(7):  # in small pieces
        inside += layer.receive(data)
    layer.receive_end()
    return inside


@pytest.mark.parametrize(
    ("option", "version", "kinds"),
    [
        ("send-proxy", 1, set()),
        ("send-proxy-v2", 2, set()),
        ("send-proxy-v2 proxy-v2-options crc32c,unique-id", 2, {3}),
    ],
)
def test_haproxy_tells_us_for_whom_it_connects(tmp_path, option, version, kinds):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        with haproxy(tmp_path, "", f"127.0.0.1:{listener.getsockname()[1]} {option}") as port:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                ends = place(client.getsockname()), place(client.getpeername())
                client.sendall(b"hello")
                client.shutdown(socket.SHUT_WR)
                accepted, _ = listener.accept()
                with accepted:
                    accepted.settimeout(PATIENCE)
                    layer = ProxyHeader(Trusted("127.0.0.1"))
                    assert received(accepted, layer) == b"hello"
        assert (layer.peer, layer.local) == ends
        assert layer.info.version == version
        assert kinds <= set(layer.tlvs)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("source", "destination"), [(CLIENT, SERVER), (CLIENT_6, SERVER_6), (CLIENT, SERVER_6)])
def test_haproxy_believes_our_header(tmp_path, version, source, destination):
    # HAProxy passes on what it was told, in v1: so we read our own words in its.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        with haproxy(tmp_path, "accept-proxy", f"127.0.0.1:{listener.getsockname()[1]} send-proxy") as port:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                layer = send_proxy(version, source, destination)()
                layer.begin(Ends(place(client.getpeername()), place(client.getsockname())))
                client.sendall(layer.output() + layer.send(b"hello"))
                client.shutdown(socket.SHUT_WR)
                accepted, _ = listener.accept()
                with accepted:
                    accepted.settimeout(PATIENCE)
                    said = read_all(accepted)
    reader = incoming()
    assert reader.receive(said) == b"hello"
    if source.host.count(":") == destination.host.count(":"):
        assert (reader.peer, reader.local) == (source, destination)
    else:  # one of them was written as IPv6, and HAProxy may write it as either
        assert reader.peer
        assert reader.local
        assert (reader.peer.port, reader.local.port) == (source.port, destination.port)


@pytest.mark.parametrize("version", [1, 2])
def test_haproxy_takes_a_header_that_tells_nothing(tmp_path, version):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        with haproxy(tmp_path, "accept-proxy", f"127.0.0.1:{listener.getsockname()[1]} send-proxy") as port:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                layer = send_proxy(version, Address.parse("mem:test"))()
                layer.begin(Ends(place(client.getpeername()), place(client.getsockname())))
                client.sendall(layer.output() + layer.send(b"hello"))
                client.shutdown(socket.SHUT_WR)
                accepted, _ = listener.accept()
                with accepted:
                    accepted.settimeout(PATIENCE)
                    reader = incoming()
                    assert reader.receive(read_all(accepted)) == b"hello"
                assert reader.peer == place(client.getsockname())  # so it tells of the connection as it sees it
