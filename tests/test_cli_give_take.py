"""`prise give` and `prise take`, as processes: a live connection goes from one to the other, and the peer notices nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import prise
from cli_process import PATIENCE, Running, Screen, argv, environment, run, run_here
from handover_support import tcp_pair
from peers import need
from prise.errors import HandoverRefused, HandoverUncertain
from prise.handover import Channel, Listener
from tls_support import server_tls

pytest.importorskip("click")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "take")


def upper(connection: prise.Connection) -> None:
    """The server of these tests: lines come back in capitals, and the end is answered, too."""
    for line in connection:
        connection.send(line.upper())
    connection.send("bye")


@contextmanager
def upper_server() -> Iterator[str]:
    with prise.listen(upper, "127.0.0.1:0") as server:
        yield str(server.address)


@contextmanager
def taking(path: str, *options: str) -> Iterator[Running]:
    with Running("take", path, *options) as take:
        take.err.expect("waiting for connections at")
        yield take


class Receiving:
    """Somebody at the path who takes (or does something else with) what comes, in a thread."""

    def __init__(self, path: str, **options: Any) -> None:
        self._listener = Listener(path, **options)
        self.received: Any = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self._listener.accept(PATIENCE) as channel:
            self.received = channel.receive(PATIENCE)

    def __enter__(self) -> Receiving:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(PATIENCE)
        self._listener.close()
        if self.received is not None:
            self.received.close()

    def result(self) -> Any:
        self._thread.join(PATIENCE)
        return self.received


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    return text


# From one to the other


def test_a_connection_goes_from_give_to_take(path):
    with upper_server() as server, taking(path) as take:
        done = run("give", path, server, "--state", '{"name": "Zoé"}')
        assert done.returncode == 0
        assert one_line(done.stderr) == f"{server} was taken at {path}\n"
        take.err.expect(rf'^taken: {server}, {{"name": "Zoé"}}$')
        take.write("été\n")
        assert take.out.line() == "ÉTÉ"
        take.end_input()
        assert take.out.rest() == ["bye"]
        assert take.wait() == 0
    assert not os.path.exists(path)


def test_what_was_read_already_comes_first(path):
    with tcp_pair() as (peer, ours), taking(path) as take:
        connection = prise.handover.adopt(ours, pending=b"read before, ")
        ours.close()
        with Channel.connect(path) as channel:
            channel.send(connection)
        peer.sendall(b"and after\n")
        assert take.out.line() == "read before, and after"


def test_at_a_terminal(path):
    with upper_server() as server, Screen("take", path) as screen:
        screen.expect("waiting for connections at .*")
        assert run("give", path, server).returncode == 0
        screen.expect("taken: .*", "connected to .*")
        screen.type("hello")
        screen.press("Enter")
        screen.expect("HELLO")
        screen.press("C-d")
        screen.expect("bye", ".*ended.*", "exit 0")


def test_take_many_one_after_the_other(path):
    """While one is at the terminal or pipe, the next ones are acknowledged and wait."""
    with upper_server() as server, taking(path, "--many") as take:
        for _ in range(3):
            assert run("give", path, server).returncode == 0
        take.end_input()
        assert [take.out.line() for _ in range(3)] == ["bye"] * 3


def test_one_who_says_nothing_holds_up_nobody(path):
    with upper_server() as server, taking(path) as take, Channel.connect(path):
        assert run("give", path, server).returncode == 0
        take.end_input()
        assert take.wait() == 0


def test_garbage_is_said_and_the_next_one_is_taken(path):
    with upper_server() as server, taking(path) as take:
        with socket.socket(socket.AF_UNIX) as rude:
            rude.connect(path)
            rude.sendall(b"GET / HTTP/1.0\r\n\r\n")
            take.err.expect("a connection was not taken: ")
        assert run("give", path, server).returncode == 0
        take.end_input()
        assert take.wait() == 0


# take --exec, --listen


def test_a_program_goes_on_with_it(path):
    script = 'read line; echo "$line $PRISE_STATE $PROTO $TCPREMOTEIP"'
    with tcp_pair() as (peer, ours), taking(path, "--exec", f"sh -c '{script}'") as take:
        with Channel.connect(path) as channel:
            channel.send(ours, state=[1, "é"])
        peer.sendall(b"hello\n")
        assert read_all(peer).decode() == 'hello [1, "é"] TCP 127.0.0.1\n'
        assert take.wait() == 0


def test_a_program_gets_what_was_read_already(path):
    with tcp_pair() as (peer, ours), taking(path, "--exec", "cat"):
        connection = prise.handover.adopt(ours, pending=b"first, ")
        ours.close()
        with Channel.connect(path) as channel:
            channel.send(connection)
        peer.sendall(b"then")
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == b"first, then"


def test_programs_run_side_by_side(path):
    with taking(path, "--many", "--exec", "cat", "--json") as take, tcp_pair() as one, tcp_pair() as two:
        with Channel.connect(path) as channel:
            channel.send(one[1])
            channel.send(two[1], state={"second": True})
        for peer in (two[0], one[0]):
            peer.sendall(b"hello")
            assert peer.recv(100) == b"hello"
        ready, first, second = (json.loads(take.out.line() or "") for _ in range(3))
        assert ready["event"] == "ready"
        assert (first["event"], first["kind"], first["pending"], first["state"]) == ("taken", "stream", 0, None)
        assert second["state"] == {"second": True}
        assert second["credentials"]["uid"] == os.geteuid()


def test_a_program_that_fails_is_the_exit_code(path):
    with upper_server() as server, taking(path, "--exec", "false") as take:
        assert run("give", path, server).returncode == 0
        take.err.expect("false has ended with exit code 1")
        assert take.wait() == 1


def test_it_is_there_for_whoever_comes_to_an_address(path):
    with upper_server() as server, Running("take", path, "--listen", "127.0.0.1:0") as take:
        port = take.port()
        assert run("give", path, server).returncode == 0
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            sock.sendall(b"hello\n")
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b"HELLO\nbye\n"
        assert take.wait() == 0


def test_a_listening_socket_is_for_programs_alone(path):
    with socket.create_server(("127.0.0.1", 0)) as server, taking(path) as take:
        with Channel.connect(path) as channel:
            channel.send(server)
        take.err.expect("no connection but a listener")
        assert take.wait() == 1


# give: what, and to whom


def test_a_socket_that_it_was_started_with(path):
    with tcp_pair() as (peer, ours), Receiving(path) as there:
        command = argv("give", path, f"fd:{ours.fileno()}", "--json")
        done = subprocess.run(command, pass_fds=[ours.fileno()], env=environment(), capture_output=True, check=True)
        ours.close()
        received = there.result()
        where = "{}:{}".format(*peer.getsockname())
        assert json.loads(done.stdout) == {"event": "given", "peer": where, "path": path}
        received.socket.sendall(b"hello")
        assert peer.recv(100) == b"hello"


def test_its_standard_input_as_under_tcpserver(path):
    need("tcpserver")
    with Receiving(path) as there:
        command = ["tcpserver", "-1", "-RHl0", "127.0.0.1", "0", *argv("give", path, "-", "--state", "7", "-q")]
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            with socket.create_connection(("127.0.0.1", int(server.stdout.readline())), PATIENCE) as peer:
                received = there.result()
                assert received.state == 7
                received.socket.sendall(b"hello")
                assert peer.recv(100) == b"hello"
            server.terminate()


def test_a_front_door(path):
    with taking(path, "--many", "--exec", "cat"), Running("give", path, "127.0.0.1:0", "--listen", "--json") as door:
        port = door.port()
        for number in range(3):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
                sock.sendall(b"%d" % number)
                sock.shutdown(socket.SHUT_WR)
                assert read_all(sock) == b"%d" % number
        events = [json.loads(door.out.line() or "") for _ in range(4)]
        assert [event["event"] for event in events] == ["ready", "given", "given", "given"]


def test_a_front_door_with_nobody_behind_it(path):
    with Running("give", path, "127.0.0.1:0", "--listen", "--json") as door:
        port = door.port()
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            assert read_all(sock) == b""
        door.err.expect("was not taken: .*nobody takes connections at")
        assert [json.loads(door.out.line() or "")["event"] for _ in range(2)] == ["ready", "refused"]
        with Listener(path) as listener:  # somebody comes: the next ones are taken
            with socket.create_connection(("127.0.0.1", port), PATIENCE), listener.accept(PATIENCE) as channel:
                received = channel.receive(PATIENCE)
                assert received is not None
                received.close()


def test_tls_is_refused_with_the_reason_or_passed_on(path):
    with prise.listen(upper, "tls:127.0.0.1:0", tls=server_tls()) as server:
        with taking(path) as take:
            done = run("give", path, str(server.address), "--insecure")
            assert done.returncode == prise.HandoverError.exit_code
            assert "through tls cannot change hands" in one_line(done.stderr)
            with Running("give", path, str(server.address), "--insecure", "--relay") as give:
                take.write("secret\n")
                assert take.out.line() == "SECRET"
                take.end_input()
                assert take.out.rest() == ["bye"]
                assert give.wait() == 0


# Mistakes and refusals


def test_nobody_is_there(path):
    done = run("give", path, "127.0.0.1:1")
    assert done.returncode == HandoverRefused.exit_code
    assert "nobody takes connections at" in one_line(done.stderr)


def test_the_address_is_out_of_reach(path):
    with Listener(path), socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        done = run("give", path, f"127.0.0.1:{free.getsockname()[1]}")
    assert done.returncode == prise.ConnectError.exit_code


def test_the_other_program_hangs_up(path):
    with upper_server() as server, Listener(path) as listener:
        with Running("give", path, server) as give:
            listener.accept(PATIENCE).close()
            assert give.wait() == HandoverRefused.exit_code


def test_the_other_program_does_not_answer(path):
    with upper_server() as server, Listener(path) as listener:
        with Running("give", path, server, "--timeout", "100ms") as give, listener.accept(PATIENCE):
            assert give.wait() == HandoverUncertain.exit_code


def test_other_users_are_not_let_in(path):
    with upper_server() as server, taking(path, "--uids", f"nobody,{os.geteuid() + 1}", "--mode", "666"):
        assert os.stat(path).st_mode & 0o777 == 0o666
        assert run("give", path, server).returncode == HandoverRefused.exit_code


def test_a_path_where_somebody_waits_already(path):
    with Listener(path):
        assert run("take", path).returncode == prise.BindError.exit_code


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("give", "p", ":1", "--state", "{"), "the state is not JSON"),
        (("give", "p", ":1", "--listen", "--tls"), "TLS is written in the address"),
        (("take", "p", "--exec", "cat", "--stdio"), "exclude each other"),
        (("take", "p", "--exec", "no-such-program"), "there is no program no-such-program"),
        (("take", "p", "--json"), "--json goes with"),
        (("take", "p", "--exec", "sort '"), "a quotation mark in the command is not closed"),
        (("take", ""), "the path is empty"),
        (("take", "p" * 120), "the path is too long: 120 bytes"),
        (("give", "p" * 120, ":1"), "the path is too long: 120 bytes"),
        (("take", "/dev/null/p"), "there can be no folder /dev/null"),
        (("take", "p", "--uids", "no-such-user"), "there is no user no-such-user"),
        (("take", "p", "--mode", "rw"), "are no permissions"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(tmp_path, arguments, why):
    done = run_here(*arguments, cwd=tmp_path)
    assert done.returncode in (2, 4)
    assert why in one_line(done.stderr)


def test_standard_input_that_is_no_socket(path):
    with Listener(path):
        done = run("give", path, "-")
    assert done.returncode == prise.UsageError.exit_code
    assert "descriptor 0 cannot be given away" in one_line(done.stderr)


@pytest.mark.parametrize("command", ["give", "take"])
@pytest.mark.parametrize("language", ["en_US.UTF-8", "fr_FR.UTF-8"])
def test_help_has_each_option_and_examples(command, language):
    text = run(command, "--help", language=language).stdout
    for option in {"give": ("--listen", "--state", "--relay"), "take": ("--exec", "--many", "--uids")}[command]:
        assert option in text
    assert text.count(f"  prise {command} ") >= 4
