"""`prise relay` and `prise replay`, as processes: each option, what they print, and how they end."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import prise
from cli_process import PATIENCE, Running, run, run_here
from tls_support import issue

pytest.importorskip("click")


def upper(connection: prise.Connection) -> None:
    """The server of these tests: lines come back in capitals, and the end is answered, too."""
    for line in connection:
        connection.send(line.upper())
    connection.send("bye")


@contextmanager
def upper_server() -> Iterator[str]:
    with prise.listen(upper, "127.0.0.1:0") as server:
        yield str(server.address)


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), PATIENCE)


def talk(sock: socket.socket, text: bytes) -> bytes:
    """Says it, ends the input, and returns all that comes back."""
    with sock:
        sock.sendall(text)
        sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def was_reset(port: int, host: str = "127.0.0.1") -> bool:
    try:
        with connect(port, host) as sock:  # which may see the reset already
            sock.recv(100)
    except ConnectionResetError:
        return True
    return False


# Serving


def test_it_serves_until_it_is_stopped_and_counts():
    with upper_server() as b, Running("relay", "127.0.0.1:0", b) as relay:
        port = relay.port()
        for _ in range(3):
            assert talk(connect(port), b"hello\n") == b"HELLO\nbye\n"
        relay.signal(signal.SIGTERM)
        assert relay.wait() == 0
        assert relay.err.expect("connections: 3")
        assert relay.out.rest() == []


def test_once_is_over_after_one():
    with upper_server() as b, Running("relay", "--once", "127.0.0.1:0", b) as relay:
        assert talk(connect(relay.port()), b"hello\n") == b"HELLO\nbye\n"
        assert relay.wait() == 0


def test_a_server_out_of_reach_is_one_line_and_the_relay_goes_on():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with Running("relay", "127.0.0.1:0", f"127.0.0.1:{free.getsockname()[1]}") as relay:
            port = relay.port()
            for number in (1, 2):
                assert was_reset(port)
                assert "refused" in relay.err.expect(f"^(?:prise: )?#{number} ").string
            relay.signal(signal.SIGTERM)
            assert relay.wait() == 0


def test_once_with_a_server_out_of_reach_is_the_exit_code():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with Running("relay", "--once", "127.0.0.1:0", f"127.0.0.1:{free.getsockname()[1]}") as relay:
            assert was_reset(relay.port())
            assert relay.wait() == prise.ConnectError.exit_code


def test_listen_on_both_sides_joins_pairs():
    with Running("relay", "listen:127.0.0.1:0", "listen:127.0.0.1:0") as relay:
        match = relay.err.expect(r"127\.0\.0\.1:(\d+), 127\.0\.0\.1:(\d+)")
        with connect(int(match[1])) as one, connect(int(match[2])) as two:
            one.sendall(b"hello")
            assert two.recv(100) == b"hello"


def test_connect_on_both_sides_is_joined_once():
    with socket.create_server(("127.0.0.1", 0)) as listener, upper_server() as b:
        listener.settimeout(PATIENCE)
        with Running("relay", f"connect:127.0.0.1:{listener.getsockname()[1]}", b) as relay:
            assert talk(listener.accept()[0], b"hello\n") == b"HELLO\nbye\n"
            assert relay.wait() == 0


def test_an_address_that_is_taken():
    with upper_server() as taken:
        done = run("relay", taken, ":1")
    assert done.returncode == prise.BindError.exit_code
    assert "already listens" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (":1",),
        ("connect::1", "listen::2"),
        (":1", ":2", "--rate", "0"),
        (":1", ":2", "--rate", "fast"),
        (":1", ":2", "--allow", "nowhere"),
        (":1", ":2", "--idle", "never"),
        (":1", ":2", "--max-connections", "0"),
        (":1", ":2", "--proxy-protocol", "v3"),
    ],
)
def test_what_cannot_work_is_a_mistake_of_usage(arguments):
    done = run_here("relay", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_help_has_each_option_and_examples():
    text = run("relay", "--help").stdout
    for option in (
        "--once",
        "--idle",
        "--rate",
        "--max-connections",
        "--allow",
        "--deny",
        "--dump",
        "--record",
        "--ca",
    ):
        assert option in text
    assert "Examples:" in text


# Bounds


@pytest.mark.parametrize(
    ("options", "comes_in"),
    [
        (["--deny", "127.0.0.0/8"], False),
        (["--deny", "10.0.0.0/8"], True),
        (["--allow", "10.0.0.0/8", "--allow", "fd00::/8"], False),
        (["--allow", "10.0.0.0/8", "--allow", "127.0.0.1"], True),
        (["--allow", "127.0.0.0/8", "--deny", "127.0.0.1"], False),
    ],
)
def test_networks(options, comes_in):
    with upper_server() as b, Running("relay", "127.0.0.1:0", b, *options) as relay:
        port = relay.port()
        if comes_in:
            assert talk(connect(port), b"hello\n") == b"HELLO\nbye\n"
        else:
            assert was_reset(port)


@pytest.mark.parametrize(("option", "comes_in"), [("--deny", False), ("--allow", True)])
def test_networks_of_ipv6(option, comes_in):
    with upper_server() as b, Running("relay", "[::1]:0", b, option, "::1/128") as relay:
        port = relay.port(r"\[::1\]:(\d+)")
        if comes_in:
            assert talk(connect(port, "::1"), b"hello\n") == b"HELLO\nbye\n"
        else:
            assert was_reset(port, "::1")


def test_idle_closes_and_says_so():
    with upper_server() as b, Running("relay", "127.0.0.1:0", b, "--idle", "200ms") as relay:
        with connect(relay.port()) as sock:
            assert sock.recv(100) == b""
        relay.err.expect("nothing arrived for 0.2 s")


def test_at_the_limit_the_next_one_waits():
    with upper_server() as b, Running("relay", "127.0.0.1:0", b, "--max-connections", "1", "-v") as relay:
        port = relay.port()
        with connect(port) as first, connect(port) as second:
            second.sendall(b"second\n")
            first.sendall(b"first\n")
            assert first.recv(100) == b"FIRST\n"
            second.setblocking(False)
            with pytest.raises(BlockingIOError):
                second.recv(100)
            second.settimeout(PATIENCE)
            first.close()
            assert second.recv(100) == b"SECOND\n"


# Looking on


def test_dump_shows_text_and_hex_and_the_direction():
    with upper_server() as b, Running("relay", "127.0.0.1:0", b, "--dump") as relay:
        assert talk(connect(relay.port()), b"hello\tyou\n") == b"HELLO\tYOU\nbye\n"
        relay.out.expect(r"#1 == 127\.0\.0\.1:\d+ to ")
        relay.out.expect("#1 >> 10 bytes")
        assert relay.out.line() == r"  hello\tyou\n"
        relay.out.expect("#1 <<")
        assert relay.out.line() == r"  HELLO\tYOU\n"
        relay.out.expect("#1 == closed")


def test_dump_in_hex():
    with upper_server() as b, Running("relay", "127.0.0.1:0", b, "--hex") as relay:
        talk(connect(relay.port()), b"hi\n")
        relay.out.expect("#1 >> 3 bytes")
        assert relay.out.line() == f"  0000  {'68 69 0a':<48}  hi."


def test_a_dump_draws_nothing_on_the_terminal():
    """What a peer says cannot move the cursor of who looks on."""
    with upper_server() as b, Running("relay", "127.0.0.1:0", b, "--dump") as relay:
        talk(connect(relay.port()), "\x1b[2J\x9b2J\n".encode())
        relay.out.expect("#1 == closed")
        assert not any("\x1b" in line or "\x9b" in line for line in relay.out.seen)


def test_events_as_json():
    with upper_server() as b, Running("relay", "127.0.0.1:0", b, "--json", "--dump", "--once") as relay:
        ready = json.loads(relay.out.line() or "")
        assert ready["event"] == "ready"
        port = prise.Address.parse(ready["addresses"][0]).port
        talk(connect(int(port or 0)), b"hi\n")
        assert relay.wait() == 0
        events = [json.loads(line) for line in relay.out.rest()]
    names = [event["event"] for event in events]
    assert (names[0], names[-2], names[-1]) == ("open", "close", "stopped")
    assert {"event": "data", "c": 1, "from": "client", "data": "hi\n"} in events
    assert (events[-2]["to_server"], events[-2]["to_client"]) == (3, 7)


# Recording and playing again


def record(path: Path, *talks: bytes) -> None:
    with upper_server() as b, Running("relay", "127.0.0.1:0", b, "--record", str(path)) as relay:
        port = relay.port()
        for text in talks:
            talk(connect(port), text)
        relay.signal(signal.SIGTERM)
        assert relay.wait() == 0


def test_what_was_recorded_plays_as_the_client(tmp_path):
    record(tmp_path / "talk", b"one\n", b"two\nthree\n")
    with upper_server() as b:
        done = run("replay", str(tmp_path / "talk"), b, "--as", "client", "--speed", "full")
    assert (done.returncode, done.stdout) == (0, "")
    assert "connections: 2" in done.stderr


def test_another_answer_is_shown_and_the_exit_code_is_1(tmp_path):
    def lower(connection: prise.Connection) -> None:
        for line in connection:
            connection.send(line.lower())

    record(tmp_path / "talk", b"one\n")
    with prise.listen(lower, "127.0.0.1:0") as server:
        done = run("replay", str(tmp_path / "talk"), str(server.address), "--as", "client", "--speed", "full")
        asked = run(
            "replay", str(tmp_path / "talk"), str(server.address), "--as", "client", "--speed", "full", "--json"
        )
    assert done.returncode == asked.returncode == 1
    # The answer and the last word may have come in one piece.
    assert re.search(r"differs at byte 0: expected 'ONE\\n(bye\\n)?', found 'one\\n'", done.stderr)
    (difference,) = json.loads(asked.stdout)["differences"]
    assert (difference["expected"][:4], difference["found"]) == ("ONE\n", "one\n")


@pytest.mark.parametrize("speed", ["full", "real"])
def test_what_was_recorded_plays_as_the_server(tmp_path, speed):
    record(tmp_path / "talk", b"one\n")
    with Running("replay", str(tmp_path / "talk"), "127.0.0.1:0", "--as", "server", "--speed", speed) as player:
        assert talk(connect(player.port()), b"one\n") == b"ONE\nbye\n"
        assert player.wait() == 0


def test_a_recording_is_not_written_over(tmp_path):
    (tmp_path / "talk").write_text("mine")
    done = run("relay", "127.0.0.1:0", ":1", "--record", str(tmp_path / "talk"))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert (tmp_path / "talk").read_text() == "mine"


def test_what_is_no_recording(tmp_path):
    (tmp_path / "talk").write_text("mine\n")
    done = run("replay", str(tmp_path / "talk"), ":1", "--as", "client")
    assert done.returncode == 2
    assert "is not a recording" in done.stderr


# TLS and PROXY headers


def plain(sock: socket.socket) -> socket.socket:
    return sock


def trusting(ca: Path) -> Callable[[socket.socket], socket.socket]:
    return lambda sock: ssl.create_default_context(cafile=ca).wrap_socket(sock, server_hostname="localhost")


def ask(sock: socket.socket) -> bytes:
    with sock:
        sock.sendall(b"hello\n")
        return sock.recv(100)


def test_tls_for_those_who_come():
    own = issue("relay-a")
    arguments = ("--cert", str(own.cert), "--key", str(own.key))
    with upper_server() as b, Running("relay", "tls:127.0.0.1:0", b, *arguments) as relay:
        port = relay.port()
        assert ask(trusting(own.cert)(connect(port))) == b"HELLO\n"
        assert b"HELLO" not in talk_or_reset(port)  # no TLS
        assert ask(trusting(own.cert)(connect(port))) == b"HELLO\n"


def talk_or_reset(port: int) -> bytes:
    try:
        return talk(connect(port), b"hello\n")
    except ConnectionError:
        return b""


def test_a_self_signed_certificate_says_its_pin():
    with upper_server() as b, Running("relay", "tls:127.0.0.1:0", b, "--self-signed") as relay:
        pin = relay.err.expect(r"--pin ([0-9a-f]{64})")[1]
        done = run("connect", f"tls:127.0.0.1:{relay.port()}", "--pin", pin, given=b"hello\n")
    assert done.stdout == "HELLO\nbye\n"


def test_tls_towards_the_server():
    own = issue("relay-b", ("localhost", "127.0.0.1"))
    with prise.listen(upper, "tls:127.0.0.1:0", tls=prise.TLS(cert=own.cert, key=own.key)) as server:
        for options in (["--ca", str(own.cert)], ["--insecure"], ["--pin", own.fingerprint]):
            with Running("relay", "127.0.0.1:0", str(server.address), *options) as relay:
                assert talk(connect(relay.port()), b"hello\n") == b"HELLO\nbye\n"
        with Running("relay", "127.0.0.1:0", str(server.address)) as relay:
            assert was_reset(relay.port())
            assert "certificate" in relay.err.expect("#1 ").string


def test_tls_on_both_sides():
    own = issue("relay-c", ("localhost", "127.0.0.1"))
    files = ("--cert", str(own.cert), "--key", str(own.key), "--ca", str(own.cert))
    with prise.listen(upper, "tls:127.0.0.1:0", tls=prise.TLS(cert=own.cert, key=own.key)) as server:
        with Running("relay", "tls:127.0.0.1:0", str(server.address), *files) as relay:
            assert ask(trusting(own.cert)(connect(relay.port()))) == b"HELLO\n"


def test_a_chain_of_proxy_headers_names_the_client_to_the_last():
    """The first relay says who came, the second believes it, and lets networks in by it."""
    with prise.listen(upper, "127.0.0.1:0") as server:
        second = ("tcp,proxy-from=127.0.0.1:127.0.0.1:0", str(server.address), "--deny", "10.0.0.0/8", "--dump")
        with Running("relay", *second) as inner:
            port = inner.port()
            with connect(port) as sock:
                sock.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\nhello\n")
                assert sock.recv(100) == b"HELLO\n"
            inner.out.expect(r"#1 == 192\.0\.2\.7:4711 to ")
            with connect(port) as sock, pytest.raises(ConnectionResetError):
                sock.sendall(b"PROXY TCP4 10.1.2.3 192.0.2.1 4711 80\r\nhello\n")
                sock.recv(100)
            with Running("relay", "127.0.0.1:0", f"127.0.0.1:{port}", "--proxy-protocol", "v2") as outer:
                with connect(outer.port()) as sock:
                    ours = sock.getsockname()[1]
                    assert talk(sock, b"hello\n") == b"HELLO\nbye\n"
            inner.out.expect(rf"== 127\.0\.0\.1:{ours} to ")


# Other kinds of addresses


def test_to_a_program():
    with Running("relay", "127.0.0.1:0", "exec:cat") as relay:
        port = relay.port()
        for _ in range(2):
            assert talk(connect(port), b"hello\n" * 1000) == b"hello\n" * 1000


def test_from_the_terminal_to_a_server():
    with upper_server() as b:
        done = run("relay", "stdio:", b, given=b"hello\n")
    assert (done.returncode, done.stdout) == (0, "HELLO\nbye\n")


def test_a_file_for_each_who_comes(tmp_path):
    (tmp_path / "page").write_bytes(b"x" * 200_000)
    with Running("relay", "127.0.0.1:0", f"file:{tmp_path}/page") as relay:
        port = relay.port()
        for _ in range(2):
            with connect(port) as sock:
                sock.shutdown(socket.SHUT_WR)
                assert read_all(sock) == b"x" * 200_000


def test_a_unix_socket_and_its_file_are_gone_at_the_end(tmp_path):
    path = tmp_path / "socket"
    with upper_server() as b, Running("relay", f"unix:{path}", b) as relay:
        relay.err.expect("relaying")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(path))
            assert talk(sock, b"hello\n") == b"HELLO\nbye\n"
        relay.signal(signal.SIGTERM)
        assert relay.wait() == 0
    assert not path.exists()


def test_datagrams_stay_what_they_are():
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
    ):
        far.bind(("127.0.0.1", 0))
        far.settimeout(PATIENCE)
        near.settimeout(PATIENCE)
        with Running("relay", "udp:127.0.0.1:0", f"udp:127.0.0.1:{far.getsockname()[1]}") as relay:
            near.connect(("127.0.0.1", relay.port()))
            for text in (b"one", b"two"):
                near.send(text)
                data, peer = far.recvfrom(100)
                assert data == text
                far.sendto(data.upper(), peer)
                assert near.recv(100) == text.upper()


def test_a_second_signal_cuts():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        with Running("relay", "127.0.0.1:0", f"127.0.0.1:{listener.getsockname()[1]}", "--drain", "1h") as relay:
            with connect(relay.port()) as client, listener.accept()[0] as far:
                far.settimeout(PATIENCE)
                client.sendall(b"!")
                assert far.recv(1) == b"!"
                relay.signal(signal.SIGTERM)
                assert far.recv(1) == b""  # the input has ended, the answer may come
                far.sendall(b"late")
                assert client.recv(100) == b"late"
                relay.signal(signal.SIGTERM)
                assert relay.wait() == 0


@pytest.mark.parametrize("idle", ["200ms", "none"])
def test_idle_of_datagrams(idle):
    """A silence ends what has no end of its own; `none` has it stay."""
    with prise.listen(upper, "127.0.0.1:0") as server:
        b = str(server.address)
        with Running("relay", "udp:127.0.0.1:0", b, "--idle", idle, "-v", "--drain", "1s") as relay:
            port = relay.port()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
                near.settimeout(PATIENCE)
                near.connect(("127.0.0.1", port))
                near.send(b"hello\n")
                assert near.recv(100) == b"HELLO\n"
                if idle == "none":
                    relay.signal(signal.SIGTERM)
                    assert near.recv(100) == b"bye\n"  # the drain ends its input, and the last word still comes
                else:
                    relay.err.expect("nothing arrived for 0.2 s")
