"""`systemd:` and inetd through the command: systemd-socket-activate listens, and starts `prise serve` with its sockets."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli_process import PATIENCE, Lines, argv, environment, run
from peers import free_port, need
from prise.errors import PriseError
from prise.transports import bind

pytest.importorskip("click")

MODELS = ("threads", "processes", "select", "asyncio")


class Activator:
    """systemd-socket-activate, which becomes the server at the first connection; with --accept it starts one for each."""

    def __init__(self, *options: str, serve: str) -> None:
        need("systemd-socket-activate")
        passed = [f"--setenv={name}={value}" for name, value in environment().items()]
        self.process = subprocess.Popen(
            ["systemd-socket-activate", *passed, *options, *argv("serve", *shlex.split(serve))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.err = Lines(self.process.stderr)

    def expect(self, pattern: str) -> str:
        return self.err.expect(pattern).string

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def activated(*options: str, serve: str) -> Iterator[Activator]:
    """The block begins when all the sockets listen."""
    activator = Activator(*options, serve=serve)
    try:
        for option in options:
            if option.startswith("--listen="):
                activator.expect("^Listening on")
        yield activator
    finally:
        if activator.process.poll() is None:
            activator.process.terminate()
        activator.process.wait(PATIENCE)
        assert activator.process.stderr is not None
        activator.process.stderr.close()


def connected(path: Path, kind: int = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.settimeout(PATIENCE)
    if kind == socket.SOCK_DGRAM:
        sock.bind(b"")  # a name, for the answers (unix(7), autobind)
    sock.connect(str(path))
    return sock


def talk(path: Path, said: bytes) -> bytes:
    """All that comes back for this input."""
    with connected(path) as sock:
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(4096), b""))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "echo.sock"


# -- The listening socket, Accept=no -------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_a_listening_socket_in_every_model(path: Path, model: str) -> None:
    with activated(f"--listen={path}", serve=f"upper --on systemd: --model {model}") as server:
        assert talk(path, b"un\ndeux\n") == b"UN\nDEUX\n"  # the one that started it
        server.expect(f"listening on unix:{path}")
        assert talk(path, b"trois\n") == b"TROIS\n"
        assert server.stop() == 0
        server.expect("connections: 2; messages: 3 in, 3 out")
    assert path.exists()  # it is systemd's


@pytest.mark.parametrize("model", ["threads", "asyncio"])
def test_workers_share_the_socket(path: Path, model: str) -> None:
    with activated(f"--listen={path}", serve=f"upper --on systemd: --workers 2 --model {model}") as server:
        for _ in range(4):
            assert talk(path, b"x\n") == b"X\n"
        assert server.stop() == 0
        server.expect("connections: 4")


def test_a_port(tmp_path: Path) -> None:
    port = free_port()
    with activated(f"--listen=127.0.0.1:{port}", serve="upper --on systemd:") as server:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            sock.sendall(b"un\n")
            assert sock.recv(10) == b"UN\n"
        server.expect(rf"listening on tcp:127\.0\.0\.1:{port}|listening on 127\.0\.0\.1:{port}")
        assert server.stop() == 0


def test_several_sockets_all_of_them_and_by_name(tmp_path: Path) -> None:
    a, b = tmp_path / "a.sock", tmp_path / "b.sock"
    options = (f"--listen={a}", f"--listen={b}", "--fdname=a:b")
    with activated(*options, serve="upper --on systemd:"):
        assert talk(a, b"a\n") == b"A\n"
        assert talk(b, b"b\n") == b"B\n"
    a.unlink()
    b.unlink()
    with activated(*options, serve="upper --on systemd:b") as server:
        assert talk(b, b"b\n") == b"B\n"
        server.expect(f"listening on unix:{b}")
        assert server.stop() == 0
        assert not [line for line in server.err.rest() if f"listening on unix:{a}" in line]


def test_several_addresses_may_name_them(tmp_path: Path) -> None:
    a, b, own = tmp_path / "a.sock", tmp_path / "b.sock", tmp_path / "own.sock"
    options = (f"--listen={a}", f"--listen={b}", "--fdname=a:b")
    with activated(*options, serve=f"upper --on systemd:a --on systemd:b --on unix:{own}") as server:
        assert talk(a, b"a\n") == b"A\n"
        server.expect(f"listening on unix:{own}")
        assert talk(b, b"b\n") == b"B\n"
        assert talk(own, b"own\n") == b"OWN\n"


@pytest.mark.parametrize("model", MODELS)
def test_datagrams(path: Path, model: str) -> None:
    with activated("--datagram", f"--listen={path}", serve=f"upper --on systemd: --model {model}") as server:
        with connected(path, socket.SOCK_DGRAM) as one, connected(path, socket.SOCK_DGRAM) as two:
            one.send(b"one\n")
            two.send(b"two\n")
            assert one.recv(100) == b"ONE\n"
            assert two.recv(100) == b"TWO\n"
        server.expect(f"listening on unix,type=dgram:{path}")
        assert server.stop() == 0


def test_datagrams_on_a_port() -> None:
    port = free_port(socket.SOCK_DGRAM)
    with activated("--datagram", f"--listen=127.0.0.1:{port}", serve="upper --on systemd:") as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(("127.0.0.1", port))
            sock.send(b"un\n")
            assert sock.recv(10) == b"UN\n"
        server.expect(rf"listening on udp:127\.0\.0\.1:{port}")
        assert server.stop() == 0


def test_messages(path: Path) -> None:
    with activated("--seqpacket", f"--listen={path}", serve="upper --on systemd:") as server:
        with connected(path, socket.SOCK_SEQPACKET) as sock:
            sock.send(b"un\n")
            assert sock.recv(10) == b"UN\n"
        server.expect(f"listening on unix,type=seqpacket:{path}")
        assert server.stop() == 0


# -- A process for each connection, Accept=yes ---------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("inetd", "address"), [((), "systemd:"), (("--inetd",), "stdio:")])
def test_one_connection_and_then_it_ends(path: Path, inetd: tuple[str, ...], address: str, model: str) -> None:
    with activated("--accept", *inetd, f"--listen={path}", serve=f"upper --on {address} --model {model}") as server:
        with connected(path) as first:
            first.sendall(b"un\n")
            assert first.recv(10) == b"UN\n"
            assert talk(path, b"deux\n") == b"DEUX\n"  # in a process of its own, while the first one lasts
            server.expect("connections: 1; messages: 1 in, 1 out")
            server.expect("died with code 0")
            first.shutdown(socket.SHUT_WR)
            assert first.recv(10) == b""
        server.expect("died with code 0")


def test_connections_that_keep_messages(path: Path) -> None:
    with activated("--accept", "--seqpacket", f"--listen={path}", serve="upper --on systemd:"):
        with connected(path, socket.SOCK_SEQPACKET) as sock:
            sock.send(b"un\n")
            assert sock.recv(10) == b"UN\n"


def test_standard_input_that_listens(path: Path) -> None:
    """inetd's `wait`; systemd's StandardInput=socket with Accept=no."""
    with activated("--inetd", f"--listen={path}", serve="upper --on stdio:") as server:
        assert talk(path, b"un\n") == b"UN\n"
        assert talk(path, b"deux\n") == b"DEUX\n"
        server.expect(f"listening on unix:{path}")
        assert server.stop() == 0


def test_standard_input_with_datagrams(path: Path) -> None:
    with activated("--inetd", "--datagram", f"--listen={path}", serve="upper --on stdio:") as server:
        with connected(path, socket.SOCK_DGRAM) as sock:
            sock.send(b"un\n")
            assert sock.recv(10) == b"UN\n"
        assert server.stop() == 0


# -- What cannot be ------------------------------------------------------------------------------------------------------


def test_a_name_that_was_not_passed(tmp_path: Path) -> None:
    a, b = tmp_path / "a.sock", tmp_path / "b.sock"
    with activated(f"--listen={a}", f"--listen={b}", "--fdname=a:b", serve="echo --on systemd:c") as server:
        connected(a).close()
        said = server.expect("^prise: ")
        assert said == "prise: bind systemd:c: systemd has passed no socket called 'c'; their names are: a, b"
        assert server.process.wait(PATIENCE) == 4
        assert server.err.rest() == []


def test_it_was_not_started_by_systemd() -> None:
    done = run("serve", "echo", "--on", "systemd:")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("prise: bind systemd:: systemd has passed no sockets to this process")
    assert done.stderr.count("\n") == 1


def test_there_is_nothing_to_connect_to() -> None:
    done = run("connect", "systemd:web")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nothing to connect to" in done.stderr


def test_sockets_meant_for_another_process(path: Path) -> None:
    """A shell in between is one: LISTEN_PID says whom systemd meant."""
    script = f'"$@"; echo "exit $?" >&2; : {path}'
    need("systemd-socket-activate")
    passed = [f"--setenv={name}={value}" for name, value in environment().items()]
    command = ["sh", "-c", script, "sh", *argv("serve", "echo", "--on", "systemd:")]
    with subprocess.Popen(
        ["systemd-socket-activate", *passed, f"--listen={path}", *command],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        err = Lines(process.stderr)
        err.expect("^Listening on")
        connected(path).close()
        err.expect("systemd has passed no sockets to this process")
        err.expect("exit 4")


# -- The variables, whatever they hold -----------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
NUMBERS = st.integers(-5, 2**70).map(str) | st.sampled_from(["", "1", "2", "03", "+1", " 1", "1_0", "１", "1\n", "-1"])
PID = st.just(str(os.getpid()))


@given(
    PID | NUMBERS | TEXTS, NUMBERS | TEXTS, st.none() | TEXTS | st.just("a:b:a"), st.sampled_from(["", "a", "b", "x"])
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_variables_are_sockets_or_a_prise_error(
    monkeypatch: pytest.MonkeyPatch, pid: str, count: str, names: str | None, wanted: str
) -> None:
    with monkeypatch.context() as environ:
        environ.setenv("LISTEN_PID", pid)
        environ.setenv("LISTEN_FDS", count)
        if names is None:
            environ.delenv("LISTEN_FDNAMES", raising=False)
        else:
            environ.setenv("LISTEN_FDNAMES", names)
        try:
            listeners = bind(f"systemd:{wanted}")
        except PriseError as error:
            assert str(error)
        else:
            assert pid == str(os.getpid())
            for listener in listeners:
                listener.close()


NAMED = """
import os, sys
one, two = (os.dup(os.dup(int(each))) for each in sys.argv[3:])  # beyond 3 and 4 for sure
os.dup2(one, 3)
os.dup2(two, 4)
from prise.errors import PriseError
from prise.transports import bind
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES=sys.argv[1])
try:
    listeners = bind(sys.argv[2])
    print(*(each.address.path for each in listeners))
    for each in listeners:
        each.close()
except PriseError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("names", "address", "found"),
    [
        ("", "systemd:", "one two"),
        ("a:b", "systemd:", "one two"),
        ("a:b", "systemd:b", "two"),
        ("a:a", "systemd:a", "one two"),  # several ListenStream= of one unit have one name
        ("a", "systemd:a", "one"),  # fewer names than sockets
        ("a:b:c", "systemd:c", "BindError"),  # more
        (":", "systemd:a", "their names are: -"),
    ],
)
def test_names_and_sockets_in_their_order(tmp_path: Path, names: str, address: str, found: str) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as one, closing(socket.socket(socket.AF_UNIX)) as two:
        for sock, name in (one, "one"), (two, "two"):
            sock.bind(str(tmp_path / name))
            sock.listen()
        descriptors = (one.fileno(), two.fileno())
        done = subprocess.run(
            [sys.executable, "-c", NAMED, names, address, *map(str, descriptors)],
            pass_fds=descriptors,
            capture_output=True,
            env=environment(),
            timeout=PATIENCE,
            text=True,
        )
    said = done.stdout.replace(f"{tmp_path}/", "").strip()
    assert said == found or (found not in ("one", "two", "one two") and found in said), done.stderr
