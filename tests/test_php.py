"""Connections change hands between Python and PHP: php-cli and the workers of php-fpm, in both directions.

Every test runs with both kinds of PHP, over a Unix socket between processes that run already. The other ways (a program that is
started with the connection, one process under phpy) are in test_php_programs.py. What the PHP side does with itself and with
a raw peer is tested by phpunit, in php/tests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from php_support import AS_ROOT, ENVIRONMENT, NOBODY, Cli, Fpm, Php, folder_for_all
from prise import handover
from prise.errors import HandoverError, HandoverProtocolError, HandoverUncertain, TooSlow
from tls_support import localhost

STATE = {
    "name": "Жюль ☃",
    "bytes": base64.b64encode(bytes(range(256))).decode(),
    "half": 0.5,
    "none": None,
    "deep": [[1]],
}
SECONDS = 5.0


@pytest.fixture(scope="module", params=["cli", "fpm"])
def kind(request: pytest.FixtureRequest) -> Iterator[Php]:
    with folder_for_all() as folder:
        php = (Cli if request.param == "cli" else Fpm)(folder)
        yield php
        php.stop()


@pytest.fixture
def php(kind: Php) -> Iterator[Php]:
    yield kind
    for each in kind.running:
        each.kill()
        each.communicate()
    kind.running.clear()


@pytest.fixture
def listener(php: Php) -> Iterator[handover.Listener]:
    with handover.Listener(str(php.folder / "take"), uids={php.uid}) as listener:
        php.lets_in(php.folder / "take")
        yield listener


class Far:
    """The peer of a connection, which is not to notice that it changes hands."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.socket = socket.create_connection(server.getsockname(), timeout=SECONDS)
            self.near, _ = server.accept()
        self.lines = self.socket.makefile("rb")

    def close(self) -> None:
        self.lines.close()
        self.socket.close()
        self.near.close()


@pytest.fixture
def far() -> Iterator[Far]:
    with closing(Far()) as far:
        yield far


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """To which PHP connects before it gives the connection away."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        yield server


def address(server: socket.socket) -> str:
    return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def encoded(header: Any, pending: bytes = b"") -> bytes:
    data = json.dumps(header).encode()
    return struct.pack(">I", len(data)) + data + pending


def measured(data: bytes) -> list[Any]:
    """As take.php says what was pending."""
    return [len(data), hashlib.sha256(data).hexdigest()]


def raw(channel: handover.Channel) -> socket.socket:
    """The socket of a channel, to say there what it would not; blocking."""
    sock = socket.socket(fileno=os.dup(channel.fileno()))
    sock.settimeout(SECONDS)
    return sock


# -- Python gives, PHP takes ---------------------------------------------------------------------------------------------


def test_php_goes_on_with_what_python_had_read_and_with_its_state(php, listener, far):
    connection = handover.adopt(far.near, "lines")
    far.near.close()
    far.socket.sendall("one\ntwo\nthré\n".encode()[:-3])
    assert connection.receive() == "one"
    taking = php.run("take.php", path=listener.path)
    with listener.accept(SECONDS) as channel:
        channel.send(connection, state=STATE)
    far.socket.sendall("é\n".encode())
    far.socket.shutdown(socket.SHUT_WR)  # PHP sees the end, and is still heard
    assert far.lines.read().decode() == "PHP heard two\nPHP heard thré\ngoodbye\n"
    facts = taking.facts()
    assert facts["sapi"] == {"cli": "cli", "fpm": "fpm-fcgi"}[php.kind]
    assert facts["state"] == STATE
    assert facts["pending"] == measured(b"two\nthr")
    assert facts["peer"] == "{}:{}".format(*far.socket.getsockname())


def test_pending_bytes_are_any_bytes_and_as_many_as_there_are(php, listener, far):
    pending = bytes(range(256)) * 4000
    connection = handover.adopt(far.near, "chunks", pending=pending)
    far.near.close()
    taking = php.run("take.php", path=listener.path)
    with listener.accept(SECONDS) as channel:
        channel.send(connection)
    far.socket.shutdown(socket.SHUT_WR)
    far.lines.read()
    assert taking.facts()["pending"] == measured(pending)


@pytest.mark.parametrize("timeout", [0.0, 5.0, None])
def test_php_gets_a_blocking_stream_whatever_python_had_set(php, listener, far, timeout):
    far.near.settimeout(timeout)
    taking = php.run("take.php", path=listener.path)
    with listener.accept(SECONDS) as channel:
        channel.send(far.near)
    far.socket.sendall(b"late\n")
    assert far.lines.readline() == b"PHP heard late\n"
    far.socket.shutdown(socket.SHUT_WR)
    assert taking.facts()["blocked"] is True


def test_kept_the_connection_is_of_both(php, listener, far):
    taking = php.run("take.php", path=listener.path)
    with listener.accept(SECONDS) as channel:
        channel.send(far.near, keep=True)
    far.socket.sendall(b"to whom?\n")
    assert far.lines.readline() == b"PHP heard to whom?\n"
    far.socket.shutdown(socket.SHUT_WR)
    taking.facts()
    assert far.lines.readline() == b"goodbye\n"
    far.near.sendall(b"Python is still here\n")
    far.near.close()
    assert far.lines.read() == b"Python is still here\n"


def test_a_listening_socket_changes_hands_too(php, listener, server):
    taking = php.run("take.php", path=listener.path)
    with listener.accept(SECONDS) as channel:
        channel.send(server)
    assert taking.facts()["kind"] == "listener"


def test_php_gives_up_when_nothing_comes(php, listener):
    taking = php.run("take.php", path=listener.path, timeout=0.05)
    with listener.accept(SECONDS):
        assert taking.facts()["error"] == "TimedOut"


def test_php_sees_the_end_of_the_channel(php, listener):
    taking = php.run("take.php", path=listener.path)
    listener.accept(SECONDS).close()
    assert taking.facts() == {"closed": True}


def test_python_gives_up_on_a_php_that_does_not_answer_and_lets_go(php, listener, far):
    mute = php.run("rude.php", path=listener.path, mute=True)
    with listener.accept(SECONDS) as channel:
        with pytest.raises(HandoverUncertain):
            channel.send(far.near, timeout=0.05)
    assert far.near.fileno() == -1
    assert far.lines.read() == b""
    mute.facts()


def test_a_php_that_leaves_without_taking_it_leaves_it_to_python(php, listener, far):
    leaving = php.run("rude.php", path=listener.path, leave=True)
    with listener.accept(SECONDS) as channel:
        leaving.facts()
        with pytest.raises(HandoverError):
            channel.send(far.near)
    far.near.sendall(b"still ours\n")
    assert far.lines.readline() == b"still ours\n"


def test_an_ssl_socket_is_refused_and_php_hears_nothing_of_it(php, listener, far):
    tls = ssl.create_default_context().wrap_socket(far.near, do_handshake_on_connect=False, server_hostname="localhost")
    taking = php.run("take.php", path=listener.path)
    with listener.accept(SECONDS) as channel, tls:
        with pytest.raises(HandoverError, match="keys"):
            channel.send(tls)
    assert taking.facts() == {"closed": True}


def test_php_of_another_user_is_shown_the_door(php):
    with handover.Listener(str(php.folder / "theirs"), uids={php.uid + 1}, mode=0o666) as listener:
        taking = php.run("take.php", path=listener.path)
        with pytest.raises(TooSlow):
            listener.accept(0.3)
        assert taking.facts()["closed"]


@pytest.mark.skipif(not AS_ROOT, reason="only root has workers of another user")
@pytest.mark.parametrize("kind", ["fpm"], indirect=True)
def test_without_permission_php_does_not_even_reach_the_door(php):
    with handover.Listener(str(php.folder / "ours")) as listener:
        facts = php.run("take.php", path=listener.path).facts()
    assert facts["error"] == "HandoverException"
    assert "Permission denied" in facts["message"]


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "this is not a handover"),
        (encoded("text"), "an object with a type"),
        (encoded({"v": 2, "type": "handover"}), "version 2"),
        (encoded({"v": 1, "type": "handover"}), "expected exactly one socket, got 0 descriptors"),
    ],
)
def test_php_refuses_garbage_and_says_so(php, listener, what, why):
    taking = php.run("take.php", path=listener.path)
    with listener.accept(SECONDS) as channel, raw(channel) as sock:
        sock.sendall(what)
        (size,) = struct.unpack(">I", sock.recv(4, socket.MSG_WAITALL))
        answer = json.loads(sock.recv(size, socket.MSG_WAITALL))
        facts = taking.facts()
    assert facts["error"] == "ProtocolError"
    assert why in facts["message"]
    assert not answer["ok"]
    assert why in answer["error"]


def test_a_python_that_is_gone_mid_way_leaves_nothing_with_php(php, listener, far):
    taking = php.run("take.php", path=listener.path)
    with listener.accept(SECONDS) as channel, raw(channel) as sock:
        frame = encoded({"v": 1, "type": "handover", "pending": 7}, b"1234")
        socket.send_fds(sock, [frame], [far.near.fileno()])
    far.near.close()
    assert "in the middle" in taking.facts()["message"]
    assert far.lines.read() == b""


# -- PHP gives, Python takes ---------------------------------------------------------------------------------------------


def test_python_goes_on_with_what_php_had_read_and_with_its_state(php, listener, server):
    giving = php.run("give.php", path=listener.path, peer=address(server), state=STATE)
    peer, _ = server.accept()
    with peer, peer.makefile("rb") as lines:
        peer.settimeout(SECONDS)
        assert lines.readline() == b"hello from PHP\n"
        peer.sendall("one\ntwo\nthré".encode()[:-1])
        with listener.accept(SECONDS) as channel:
            received = channel.receive(SECONDS)
            assert received is not None
            assert received.state == STATE
            assert received.kind == "stream"
            assert received.credentials is not None
            assert received.credentials.uid == php.uid
            assert received.pending == b"two\nthr\xc3"
            facts = giving.facts()
            assert facts["first"] == "one\n"
            assert facts["open"] is False
            with received.connection("lines") as connection:
                peer.sendall("é\n".encode()[1:])
                peer.shutdown(socket.SHUT_WR)
                assert list(connection) == ["two", "thré"]
                connection.send("Python heard it")
        assert lines.read() == b"Python heard it\n"


def test_python_gets_a_blocking_socket_whatever_php_had_set(php, listener, server):
    php.run("give.php", path=listener.path, peer=address(server), blocking=False)
    peer, _ = server.accept()
    with peer:
        peer.sendall(b"one\n")
        with listener.accept(SECONDS) as channel:
            received = channel.receive(SECONDS)
            assert received is not None
            with received:
                later = threading.Timer(0.05, peer.sendall, [b"late"])
                later.start()
                assert os.get_blocking(received.socket.fileno())
                assert received.socket.recv(100) == b"late"
                later.join()


def test_kept_by_php_the_connection_is_of_both(php, listener, server):
    giving = php.run("give.php", path=listener.path, peer=address(server), keep=True, blocking=False)
    peer, _ = server.accept()
    with peer, peer.makefile("rb") as lines:
        peer.sendall(b"one\n")
        with listener.accept(SECONDS) as channel:
            received = channel.receive(SECONDS)
            assert received is not None
            with received:
                assert giving.facts()["open"] is True
                assert os.get_blocking(received.socket.fileno()), "PHP has not set it back"
                received.socket.sendall(b"and from Python\n")
        assert lines.read() == b"hello from PHP\nand from PHP again\nand from Python\n"


def test_tls_is_refused_by_php(php, listener, server):
    issued = localhost()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.cert, issued.key)
    giving = php.run("give.php", path=listener.path, peer=address(server).replace("tcp:", "ssl:"))
    peer, _ = server.accept()
    with context.wrap_socket(peer, server_side=True) as tls, tls.makefile("rb") as lines:
        tls.sendall(b"one\ntwo\n")
        with listener.accept(SECONDS) as channel:
            assert channel.receive(SECONDS) is None
        facts = giving.facts()
        assert facts["error"] == "Refused"
        assert "TLS" in facts["message"]
        assert facts["pending"] == ""
        assert lines.readline() == b"hello from PHP\n"
        assert lines.readline() == b"still here\n"


def test_python_refuses_the_standard_input_that_php_sends_for_a_socket_object(php, listener):
    frame = base64.b64encode(encoded({"v": 1, "type": "handover"})).decode()
    rude = php.run("rude.php", path=listener.path, bytes=frame, descriptors=["Socket object"])
    with listener.accept(SECONDS) as channel:
        with pytest.raises(HandoverProtocolError, match="socket_export_stream"):
            channel.receive(SECONDS)
        assert "socket_export_stream" in rude.facts()["answer"]["error"]


@pytest.mark.parametrize("descriptors", [[], ["socket", "socket"], ["file"]], ids=["none", "two", "a file"])
def test_python_wants_exactly_one_socket(php, listener, descriptors):
    frame = base64.b64encode(encoded({"v": 1, "type": "handover"})).decode()
    rude = php.run("rude.php", path=listener.path, bytes=frame, descriptors=descriptors)
    with listener.accept(SECONDS) as channel:
        with pytest.raises(HandoverProtocolError, match=r"exactly one socket|no socket"):
            channel.receive(SECONDS)
        assert rude.facts()["answer"]["ok"] is False


def test_python_refuses_garbage_from_php(php, listener):
    rude = php.run(
        "rude.php", path=listener.path, bytes=base64.b64encode(b"<?php echo").decode(), descriptors=["socket"]
    )
    with listener.accept(SECONDS) as channel:
        with pytest.raises(HandoverProtocolError):
            channel.receive(SECONDS)
        assert channel.closed
        assert rude.facts()["answer"]["ok"] is False


def test_a_php_that_is_gone_mid_way_leaves_nothing_with_python(php, listener):
    cut = base64.b64encode(encoded({"v": 1, "type": "handover"})[:-3]).decode()
    php.run("rude.php", path=listener.path, bytes=cut, descriptors=["socket"], leave=True)
    with listener.accept(SECONDS) as channel:
        with pytest.raises(HandoverProtocolError, match="middle"):
            channel.receive(SECONDS)


def test_php_gives_up_on_a_python_that_does_not_answer_and_lets_go(php, listener, server):
    giving = php.run("give.php", path=listener.path, peer=address(server), timeout=0.05)
    peer, _ = server.accept()
    with peer, peer.makefile("rb") as lines:
        peer.settimeout(SECONDS)
        peer.sendall(b"one\ntwo\n")
        with listener.accept(SECONDS):
            facts = giving.facts()
            assert (facts["error"], facts["open"]) == ("Uncertain", False)
        assert lines.read() == b"hello from PHP\n"


def test_what_python_does_not_take_stays_with_php_and_so_does_what_it_had_read(php, listener, server):
    giving = php.run("give.php", path=listener.path, peer=address(server))
    peer, _ = server.accept()
    with peer, peer.makefile("rb") as lines:
        peer.settimeout(SECONDS)
        peer.sendall(b"one\ntwo\n")
        listener.accept(SECONDS).close()
        facts = giving.facts()
        assert facts["error"] in ("Refused", "HandoverException")
        assert (facts["pending"], facts["open"]) == ("two\n", True)
        assert lines.read() == b"hello from PHP\nstill here\n"


# -- PHP listens ---------------------------------------------------------------------------------------------------------


def listening(php: Php, path: Path, **more: Any) -> Any:
    """PHP waits there; it says nothing before it ends, so we watch for its socket."""
    running = php.run("listen.php", path=path, **more)
    for _ in range(500):
        if path.exists():
            return running
        threading.Event().wait(0.01)
    raise AssertionError(running.facts())


@pytest.fixture
def place(php: Php) -> Path:
    """Where PHP may make its socket."""
    return php.folder / "work" / "take" if php.kind == "fpm" else php.folder / "listen"


def test_php_can_be_the_one_that_listens(php, place, far):
    php_side = listening(php, place, uids=[os.geteuid()])
    with handover.Channel.connect(str(place)) as channel:
        channel.send(far.near, state=STATE)
    far.socket.sendall(b"echo\n")
    assert far.lines.read() == b"echo\n"
    assert php_side.facts() == {"state": STATE, "uid": os.geteuid()}


@pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")
def test_a_python_of_another_user_is_shown_the_door_by_php(php, place):
    stranger = NOBODY - 1
    php_side = listening(php, place, uids=[os.geteuid()], mode=0o666, timeout=0.5)
    code = (
        "import sys, socket\n"
        "with socket.socket(socket.AF_UNIX) as channel:\n"
        "    channel.connect(sys.argv[1])\n"
        "    print(channel.recv(1))"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-c", code, str(place)],
        capture_output=True,
        text=True,
        user=stranger,
        group=stranger,
        check=True,
    )
    assert done.stdout == "b''\n"
    assert php_side.facts()["error"] == "TimedOut"


# -- many ----------------------------------------------------------------------------------------------------------------


def test_no_descriptor_is_left_behind(far):
    """php-cli gives back what it takes, a thousand times."""
    code = (
        "$channel = Prise\\Channel::inherited(0);"
        "while ($received = $channel->receive(5)) { $channel->send($received, $received->state); }"
        "echo count(scandir('/proc/self/fd'));"
    )
    ours, theirs = handover.Channel.pair()
    autoload = Path(__file__).parent.parent / "php" / "autoload.php"
    with ours:
        program = subprocess.Popen(
            ["php", "-r", f"require '{autoload}'; {code}"],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
        )
        theirs.close()
        near = far.near.dup()
        before = len(os.listdir("/proc/self/fd"))
        for number in range(1000):
            ours.send(near, state=number)
            received = ours.receive(SECONDS)
            assert received is not None
            assert received.state == number
            near = received.socket
        assert len(os.listdir("/proc/self/fd")) == before
        near.sendall(b"well travelled\n")
        assert far.lines.readline() == b"well travelled\n"
        near.close()
    output, _ = program.communicate(timeout=SECONDS)
    assert int(output) < 20
