"""`prise connect`: bytes in a pipe, a line to edit on a terminal."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import prise
from cli_process import PATIENCE, Running, Screen, argv, environment, run, without

pytest.importorskip("click")


@contextmanager
def server(serve: Callable[[socket.socket], object]) -> Iterator[str]:
    """The address of a peer that does this with the one connection that comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)

        def accept() -> None:
            connection, _ = listener.accept()
            connection.settimeout(PATIENCE)
            with connection:
                serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(PATIENCE)


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


# In a pipe


def test_all_answers_are_printed():
    def echo(connection):
        for line in connection:
            connection.send(line.upper())

    with prise.listen(echo, "127.0.0.1:0") as serving:
        done = run("connect", str(serving.address), given=b"a\nb\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "A\nB\n", "")


def test_the_end_of_the_input_is_sent_on_and_the_answer_awaited():
    """What nc, socat and curl lose: the peer reads to the end, and answers only then."""

    def count(connection: socket.socket) -> None:
        connection.sendall(b"%d bytes\n" % len(read_all(connection)))

    with server(count) as address:
        done = run("connect", address, given=b"one\ntwo\n")
    assert (done.returncode, done.stdout) == (0, "8 bytes\n")


@pytest.mark.parametrize("shell", ['"$@" < /dev/null', '"$@" <&-'], ids=["/dev/null", "closed"])
def test_without_an_input(shell):
    def greet(connection: socket.socket) -> None:
        assert read_all(connection) == b""
        connection.sendall(b"hello\n")

    with server(greet) as address:
        done = subprocess.run(
            ["sh", "-c", shell, "sh", *argv("connect", address)],
            env=environment(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n", b"")


def test_it_ends_with_the_peer_even_when_the_input_stays_open():
    with server(lambda connection: connection.sendall(b"bye\n")) as address, Running("connect", address) as client:
        assert client.out.line() == "bye"
        assert client.wait() == 0


def test_bytes_are_not_touched():
    data = bytes(range(256)) * 3

    def echo(connection: socket.socket) -> None:
        connection.sendall(read_all(connection))

    with server(echo) as address:
        done = subprocess.run(
            argv("connect", address), input=data, env=environment(), capture_output=True, timeout=PATIENCE, check=True
        )
    assert done.stdout == data


def test_a_hundred_megabytes_through_a_small_memory(tmp_path):
    """Both directions at once, more than any buffer between: neither may wait for the other's end."""
    size = 100_000_000
    (tmp_path / "zeros").touch()
    os.truncate(tmp_path / "zeros", size)

    def echo(connection: socket.socket) -> None:
        while data := connection.recv(1 << 18):
            connection.sendall(data)

    limited = ["sh", "-c", 'ulimit -v 400000; exec "$@"', "sh"]  # kB of address space, most of it Python itself
    with server(echo) as address, open(tmp_path / "zeros", "rb") as zeros:
        with subprocess.Popen(
            [*limited, *argv("connect", address)], stdin=zeros, stdout=subprocess.PIPE, env=environment()
        ) as process:
            assert process.stdout is not None
            received = 0
            while data := process.stdout.read(1 << 20):
                received += len(data)
                assert not data.strip(b"\0")
    assert (process.returncode, received) == (0, size)


def test_a_reset_in_mid_talk_is_8():
    def reset(connection: socket.socket) -> None:
        connection.sendall(b"half a li")
        assert connection.recv(10) == b"go"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with server(reset) as address, Running("connect", address) as client:
        client.write("go")
        assert client.out.line() == "half a li"
        assert client.wait() == 8
        (line,) = client.err.rest()
        assert line.startswith("prise: receive")
        assert address in line


def test_crlf():
    with server(lambda connection: connection.sendall(repr(read_all(connection)).encode())) as address:
        done = run("connect", "--crlf", address, given=b"a\nb\r\nc\rd\n\n")
    assert done.stdout == repr(b"a\r\nb\r\nc\rd\r\n\r\n")


def test_crlf_in_pieces():
    from prise.cli.connect import Crlf

    crlf = Crlf()
    pieces = [b"a\r", b"\nb", b"\n", b"\r", b"\n", b"", b"c\n"]
    assert b"".join(b"".join(crlf(piece)) for piece in pieces) == b"a\r\nb\r\n\r\nc\r\n"


def test_when_nobody_reads_what_comes_it_ends_quietly():
    """`prise connect … | head -1`, and a peer that never stops."""

    def pour(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(b"line\n" * 1000)
        except ConnectionError:
            pass

    with server(pour) as address:
        command = ["bash", "-c", 'set -o pipefail; "$@" | head -n 1', "bash", *argv("connect", address)]
        done = subprocess.run(
            command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"line\n", b"")


def test_ctrl_c_is_130():
    def greet(connection: socket.socket) -> None:
        connection.sendall(b"ready\n")
        assert read_all(connection) == b""

    with server(greet) as address, Running("connect", address) as client:
        assert client.out.line() == "ready"
        client.signal(signal.SIGINT)
        assert client.wait() == 130
        assert client.err.rest() == []


def test_retry_waits_for_the_server_to_come(tmp_path):
    path = tmp_path / "late.sock"
    with Running("connect", "--retry", "50", str(path)) as client:
        client.end_input()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(PATIENCE)
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"at last\n")
        assert client.out.line() == "at last"
        assert client.wait() == 0


# With a framing


def test_lines_in_messages_out_and_back():
    def echo(connection):
        for message in connection:
            connection.send({"heard": message})

    with prise.listen(echo, "127.0.0.1:0", framing="prefixed:4 | json") as serving:
        done = run("connect", "--framing", "prefixed:4 | json", str(serving.address), given='{"é": [1]}\n"x"'.encode())
    assert done.stdout == '{"heard": {"é": [1]}}\n{"heard": "x"}\n'


@pytest.mark.parametrize(
    ("framing", "given"), [("netstring", "été\nb\n"), ("lines", "été\nb\n"), ("varint | text", "é\n")]
)
def test_text_and_bytes(framing, given):
    def echo(connection):
        for message in connection:
            connection.send(message)

    with prise.listen(echo, "127.0.0.1:0", framing=framing) as serving:
        done = run("connect", "--framing", framing, str(serving.address), given=given.encode())
    assert done.stdout == given


def test_what_is_not_a_message_of_that_framing():
    with server(read_all) as address:
        done = run("connect", "--framing", "lines|json", address, given=b"{oops\n")
    assert done.returncode == 2
    assert "not JSON" in done.stderr
    with server(read_all) as address:
        done = run("connect", "--framing", "fixed:2", address, given=b"three\n")
    assert done.returncode == 2
    with server(lambda connection: connection.sendall(b"x:oops")) as address:
        done = run("connect", "--framing", "netstring", address)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1


# On a terminal


@contextmanager
def by_hand(*options: str, **more: str) -> Iterator[tuple[socket.socket, Screen]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with Screen("connect", *options, address, **more) as screen:
            connection, _ = listener.accept()
            connection.settimeout(PATIENCE)
            with connection:
                yield connection, screen


def test_what_arrives_does_not_garble_what_is_being_typed():
    with by_hand() as (peer, screen):
        screen.expect("connected to .*", "> ?")
        screen.type("half a sen")
        screen.expect("> half a sen")
        peer.sendall(b"first\nsecond\n")
        screen.expect("first", "second", "> half a sen")
        screen.type("tence")
        screen.press("Left", "Left", "BSpace", "Enter")
        assert peer.recv(100) == b"half a sentece\n"
        peer.sendall("reçu\n".encode())
        screen.expect("> half a sentece", "reçu", "> ?")


def test_history():
    with by_hand() as (peer, screen):
        screen.expect("> ?")
        screen.type("again")
        screen.press("Enter")
        assert peer.recv(100) == b"again\n"
        screen.press("Up", "Enter")
        assert peer.recv(100) == b"again\n"


def test_a_question_without_a_newline_is_shown():
    with by_hand() as (peer, screen):
        screen.expect("> ?")
        peer.sendall(b"one\nlogin: ")
        screen.expect("one", "login: ?", "> ?")


def test_control_characters_from_the_network_are_shown_and_not_obeyed():
    with by_hand() as (peer, screen):
        screen.expect("> ?")
        peer.sendall("\x1b[2J\x1b]0;title\x07 bell\u202e\x9b\r\nend\n".encode())
        screen.expect(re.escape(r"^[[2J^[]0;title^G bell\u202e\x9b"), "end", "> ?")


def test_ctrl_d_ends_the_input_and_the_answer_is_awaited():
    with by_hand() as (peer, screen):
        screen.expect("> ?")
        screen.press("C-d")
        assert peer.recv(100) == b""
        peer.sendall(b"the last word\n")
        peer.close()
        screen.expect("the last word", "the other side has ended", "exit 0")


def test_the_end_of_the_peer_ends_it_while_something_is_being_typed():
    with by_hand() as (peer, screen):
        screen.expect("> ?")
        screen.type("unfin")
        screen.expect("> unfin")
        peer.close()
        screen.expect("the other side has ended", "exit 0")


@pytest.mark.parametrize("after_ctrl_d", [False, True])
def test_ctrl_c_on_a_terminal(after_ctrl_d):
    with by_hand() as (peer, screen):
        screen.expect("> ?")
        if after_ctrl_d:
            screen.press("C-d")
            assert peer.recv(1) == b""
        screen.press("C-c")
        screen.expect("exit 130")


def test_crlf_and_messages_on_a_terminal():
    with by_hand("--crlf") as (peer, screen):
        screen.expect("> ?")
        screen.type("x")
        screen.press("Enter")
        assert peer.recv(100) == b"x\r\n"
    with by_hand("--framing", "netstring") as (peer, screen):
        screen.expect("> ?")
        screen.type("abc")
        screen.press("Enter")
        assert peer.recv(100) == b"3:abc,"
        peer.sendall(b"4:\x1b[1m,")
        screen.expect(re.escape("^[[1m"), "> ?")


def test_in_french_on_a_terminal():
    with by_hand(language="fr_FR.UTF-8") as (peer, screen):
        screen.expect("connecté à .*")
        peer.close()
        screen.expect("l’autre côté a fini", "exit 0")


def test_without_prompt_toolkit_lines_are_plain(tmp_path):
    more = {"path": without("prompt_toolkit", tmp_path)}
    with by_hand(**more) as (peer, screen):
        screen.expect("connected to .*")
        screen.type("plain")
        screen.press("Enter")
        assert peer.recv(100) == b"plain\n"
        peer.sendall(b"answer\x1b[1m\n")
        screen.expect("plain", re.escape("answer^[[1m"))
        screen.press("C-d")
        assert peer.recv(100) == b""
        peer.close()
        screen.expect(".*has ended", "exit 0")
