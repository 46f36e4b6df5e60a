"""prise.compat.telnetlib beside the removed module: the same programs, and equal results. Python 3.13 has only ours."""

from __future__ import annotations

import io
import re
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import pytest

import prise.compat.telnetlib as ours
from prise.errors import MessageTooLarge, ProtocolError
from real_servers.telnetd import Telnetd


def removed_module() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return import_module("telnetlib")
    except ModuleNotFoundError:
        return None


MODULES = [module for module in (ours, removed_module()) if module is not None]
PATIENCE = 10.0
IAC, DO, DONT, WILL, WONT, SB, SE, NOP = b"\xff", b"\xfd", b"\xfe", b"\xfb", b"\xfc", b"\xfa", b"\xf0", b"\xf1"


@pytest.fixture(params=MODULES, ids=["ours", "removed"][: len(MODULES)])
def telnetlib(request: pytest.FixtureRequest) -> Any:
    return request.param


@contextmanager
def server(
    *pieces: bytes, more: Callable[[socket.socket], object] = lambda sock: None
) -> Iterator[tuple[int, bytearray]]:
    """Sends the pieces, waits for the client's end. Gives the port, and what was received: complete behind the `with`."""
    heard = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            sock.settimeout(PATIENCE)
            with sock, suppress(OSError):
                for piece in pieces:
                    sock.sendall(piece)
                more(sock)
                sock.shutdown(socket.SHUT_WR)
                while data := sock.recv(65536):
                    heard.extend(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], heard
        thread.join(PATIENCE)


def waiting(event: threading.Event) -> Callable[[socket.socket], object]:
    return lambda sock: event.wait(PATIENCE)


def test_the_constants_are_those_of_the_removed_module():
    for module in MODULES:
        for name in dir(module):
            value = getattr(module, name)
            if name == "theNULL" or (name.isupper() and isinstance(value, bytes | int)):
                assert getattr(ours, name) == value, name
    assert (ours.IAC, ours.SE, ours.NAWS, ours.PRAGMA_HEARTBEAT) == (b"\xff", b"\xf0", b"\x1f", b"\x8c")


def test_read_until_expect_and_the_end(telnetlib: Any) -> None:
    with server(b"login: ", b"more\r\nlast words") as (port, _), telnetlib.Telnet("127.0.0.1", port, 5) as client:
        assert client.read_until(b"in: ") == b"login: "
        index, match, text = client.expect([b"absent", re.compile(rb"(o)re\r\n")], 5)
        assert (index, match.group(1), text) == (1, b"o", b"more\r\n")
        assert client.read_until(b"never", 5) == b"last words"
        with pytest.raises(EOFError):
            client.read_until(b"never", 5)
        with pytest.raises(EOFError):
            client.expect([b"never"], 5)
        assert client.read_all() == client.read_some() == b""


def test_a_time_that_passes(telnetlib: Any) -> None:
    over = threading.Event()
    with server(b"half", more=waiting(over)) as (port, _), telnetlib.Telnet("127.0.0.1", port) as client:
        assert client.read_until(b"half") == b"half"
        assert client.read_until(b"never", 0.05) == b""
        assert client.expect([b"never"], 0.05) == (-1, None, b"")
        assert client.read_very_eager() == client.read_eager() == client.read_lazy() == client.read_very_lazy() == b""
        assert not client.sock_avail()
        over.set()
        assert client.read_all() == b""


def test_what_was_read_so_far_is_given_when_the_time_is_over(telnetlib: Any) -> None:
    over = threading.Event()
    with server(b"half", more=waiting(over)) as (port, _), telnetlib.Telnet("127.0.0.1", port) as client:
        assert client.expect([b"half a", b"hal(?=f)"], 5)[2] == b"hal"
        assert client.read_until(b"never", 0.05) == b"f"
        over.set()


@pytest.mark.parametrize("name", ["read_very_eager", "read_eager", "read_lazy", "read_very_lazy"])
def test_readings_that_do_not_wait(telnetlib: Any, name: str) -> None:
    with server(b"text") as (port, _), telnetlib.Telnet("127.0.0.1", port) as client:
        read = getattr(client, name)
        client.fill_rawq()
        client.process_rawq()
        assert read() == b"text"
        while not client.eof:
            client.fill_rawq()
        with pytest.raises(EOFError):
            read()


def test_read_lazy_takes_what_was_received_and_read_very_lazy_does_not(telnetlib: Any) -> None:
    with server(b"ab") as (port, _), telnetlib.Telnet("127.0.0.1", port) as client:
        client.fill_rawq()
        assert client.read_very_lazy() == b""
        assert client.rawq_getchar() == b"a"
        assert client.read_lazy() == b"b"
        with pytest.raises(EOFError):
            client.rawq_getchar()


def test_options_are_refused(telnetlib: Any) -> None:
    said = b"a" + IAC + DO + b"\x18" + b"b" + IAC + WILL + b"\0" + IAC + DONT + b"\x05" + IAC + WONT + b"\x03" + b"c"
    with server(said) as (port, heard):
        with telnetlib.Telnet("127.0.0.1", port) as client:
            assert client.read_all() == b"abc"
    assert heard == IAC + WONT + b"\x18" + IAC + DONT + b"\0" + IAC + WONT + b"\x05" + IAC + DONT + b"\x03"


def test_bytes_of_255_are_doubled_and_padding_is_left_out(telnetlib: Any) -> None:
    with server(b"a\xff\xffb\r\0c\x11d\0\n") as (port, heard):
        with telnetlib.Telnet("127.0.0.1", port) as client:
            assert client.read_all() == b"a\xffb\rcd\n"
            client.write(b"\xff\r\n\0")
    assert heard == b"\xff\xff\r\n\0"


def test_a_callback_hears_everything_and_answers_itself(telnetlib: Any) -> None:
    calls: list[tuple[Any, ...]] = []
    said = (
        IAC
        + WILL
        + b"\x01"
        + IAC
        + SB
        + b"\x18\x01x\0\x11"
        + IAC
        + IAC
        + b"y"
        + IAC
        + SE
        + IAC
        + NOP
        + IAC
        + DO
        + b"\x1f"
    )

    def callback(sock: socket.socket, command: bytes, option: bytes) -> None:
        calls.append((sock is client.get_socket(), command, option, client.read_sb_data()))

    with server(said + b"text") as (port, heard):
        client = telnetlib.Telnet()
        with pytest.raises(AttributeError):
            client.fileno()
        client.set_option_negotiation_callback(callback)
        client.open("127.0.0.1", port)
        with client:
            assert client.fileno() == client.get_socket().fileno()
            assert client.read_until(b"text") == b"text"
    assert calls == [
        (True, WILL, b"\x01", b""),
        (True, SB, b"\0", b""),
        (True, SE, b"\0", b"\x18\x01x\xffy"),
        (True, NOP, b"\0", b""),
        (True, DO, b"\x1f", b""),
    ]
    assert heard == b""


def test_every_place_where_the_network_may_cut(telnetlib: Any) -> None:
    said = b"a" + IAC + DO + b"\x18" + IAC + IAC + IAC + SB + b"\x18\x01" + IAC + IAC + IAC + SE + b"\r\0z"

    def dribble(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in said:
            sock.sendall(bytes((byte,)))

    with server(more=dribble) as (port, heard):
        with telnetlib.Telnet("127.0.0.1", port) as client:
            assert client.read_all() == b"a\xff\rz"
    assert heard == IAC + WONT + b"\x18"


def test_closing(telnetlib: Any) -> None:
    with server(b"x") as (port, _):
        client = telnetlib.Telnet("127.0.0.1", port)
        client.close()
        client.close()
        assert client.get_socket() is None
        assert client.eof


def test_what_goes_wrong_with_the_socket_is_an_oserror(telnetlib: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        telnetlib.Telnet("127.0.0.1", port, 5)
    with server() as (port, _), telnetlib.Telnet("127.0.0.1", port, 5) as client:
        assert (client.host, client.port, client.timeout) == ("127.0.0.1", port, 5)
        assert client.get_socket().gettimeout() == 5


def test_a_timeout_of_the_socket(telnetlib: Any) -> None:
    over = threading.Event()
    with server(more=waiting(over)) as (port, _), telnetlib.Telnet("127.0.0.1", port, 0.05) as client:
        with pytest.raises(TimeoutError):
            client.read_some()
        over.set()


def test_read_until_waits_longer_than_the_socket(telnetlib: Any) -> None:
    """As long as it takes, unless it has a timeout of its own."""
    over = threading.Event()

    def late(sock: socket.socket) -> None:
        over.wait(PATIENCE)
        sock.sendall(b"late")

    with server(more=late) as (port, _), telnetlib.Telnet("127.0.0.1", port, 0.02) as client:
        with pytest.raises(TimeoutError):
            client.expect([b"late"])
        threading.Timer(0.05, over.set).start()
        assert client.read_until(b"late") == b"late"


def test_messages_for_debugging(telnetlib: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with server(b"x") as (port, _), telnetlib.Telnet("127.0.0.1", port) as client:
        client.msg("unheard")
        client.set_debuglevel(1)
        client.msg("50%")
        client.msg("%d of %s", 1, "two")
        client.write(b"w")
        assert client.read_some() == b"x"
    name = f"Telnet(127.0.0.1,{port}):"
    assert capsys.readouterr().out == f"{name} 50%\n{name} 1 of two\n{name} send b'w'\n{name} recv b'x'\n"


def test_interact(telnetlib: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Until the server's end; stdin stays open meanwhile."""
    reading, writing = socket.socketpair()
    with reading, writing, reading.makefile("r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        writing.sendall(b"typed\n")
        with server(more=lambda sock: sock.sendall(b"you said " + sock.recv(100))) as (port, _):
            with telnetlib.Telnet("127.0.0.1", port) as client:
                client.interact()
    assert capsys.readouterr().out == "you said typed\n*** Connection closed by remote host ***\n"


def test_interact_ends_with_the_input(telnetlib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = socket.socketpair()
    over = threading.Event()
    with reading, writing, reading.makefile("r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        writing.shutdown(socket.SHUT_WR)
        with server(more=waiting(over)) as (port, _), telnetlib.Telnet("127.0.0.1", port) as client:
            client.interact()
            over.set()


def test_mt_interact(telnetlib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\ntwo\n"))
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with server() as (port, heard):
        with telnetlib.Telnet("127.0.0.1", port) as client:
            monkeypatch.setattr(client, "listener", lambda: None)
            client.mt_interact()
    assert heard == b"one\ntwo\n"


def test_listener(telnetlib: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with server(b"all of it\n") as (port, _), telnetlib.Telnet("127.0.0.1", port) as client:
        client.listener()
    assert capsys.readouterr().out == "all of it\n*** Connection closed by remote host ***\n"


def test_a_program_that_was_written_for_it(telnetlib: Any, telnetd: Telnetd) -> None:
    """The example in the removed module's documentation, nearly."""
    with telnetlib.Telnet(telnetd.host, telnetd.port, 10) as client:
        client.read_until(b"login: ", 10)
        client.write(b"ada\r\n")
        client.read_until(b"Password: ", 10)
        client.write(b"pw\r\n")
        assert b"Welcome ada" in client.read_until(b"prise$ ", 10)
        client.write(b"echo one\r\n")
        assert client.read_until(b"prise$ ", 10) == b"echo one\r\none\r\nprise$ "
        client.write(b"exit\r\n")
        client.read_all()


# What the removed module does not have: bounds


def test_a_time_that_passes_while_text_flows() -> None:
    def flood(sock: socket.socket) -> None:
        while True:
            sock.sendall(b"x" * 1000)

    with server(more=flood) as (port, _):
        with ours.Telnet("127.0.0.1", port, PATIENCE) as client:
            assert client.expect([b"never"], 0.02)[:2] == (-1, None)
            assert client.read_until(b"never", 0.02).strip(b"x") == b""


def test_a_subnegotiation_without_an_end():
    with server(IAC + SB + b"x" * 10_000) as (port, _), ours.Telnet("127.0.0.1", port) as client:
        with pytest.raises(ProtocolError):
            client.read_all()


def test_more_than_can_be_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ours, "MOST_KEPT", 1000)
    with server(b"x" * 2000) as (port, _), ours.Telnet("127.0.0.1", port) as client:
        with pytest.raises(MessageTooLarge):
            client.read_until(b"never")
