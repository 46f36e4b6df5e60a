"""systemd's three protocols: sockets that are passed (both sides), what a service tells its manager, the descriptor store.

A manager is a Unix datagram socket; here it is the test's own. `systemd-socket-activate`, `systemd-notify` and PHP are the
other side too; a whole systemd is in test_handover_systemd_whole.py.
"""

from __future__ import annotations

import array
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest

import prise
from cli_process import PATIENCE, Lines, Running, argv, environment
from peers import need
from prise.errors import HandoverError, UsageError
from prise.handover.activation import listen_fds, serve_fds
from prise.handover.fdstore import store, stored
from prise.handover.notify import barrier, notify, watchdog_interval
from prise.handover.spawn import spawn


def everything(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def output(process: subprocess.Popen[bytes], connection: socket.socket) -> str:
    """What a program that has the other end of this connection says there."""
    with connection:
        connection.settimeout(PATIENCE)
        said = everything(connection).decode()
    process.wait(PATIENCE)
    return said


# == sockets that are passed =============================================================================================

LIST = """
import os, socket
from prise.handover.activation import listen_fds
found = listen_fds()
out = found[-1][1]
lines = [
    f"{name} {sock.fileno()} {sock.family.name} {sock.type.name} {sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)} "
    f"{sock.gettimeout()} {sock.get_inheritable()}"
    for name, sock in found
]
left = [name for name in os.environ if name.startswith("LISTEN_")]
out.sendall("\\n".join([*lines, f"{left} {listen_fds()}"]).encode())
"""


def listing(sockets: list[socket.socket], names: list[str] | None = None) -> list[str]:
    """What a program that is given these sockets, and a connection to us, finds."""
    ours, theirs = socket.socketpair()
    with theirs:
        given = None if names is None else [*names, "out"]
        process = serve_fds([sys.executable, "-c", LIST], [*sockets, theirs], given, environment())
    return output(process, ours).splitlines()


def test_listeners_datagram_sockets_and_connections_each_as_what_it_is(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as tcp6,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        unix.bind(str(tmp_path / "x"))
        unix.listen()
        udp.bind(("127.0.0.1", 0))
        tcp.settimeout(5)  # so it does not block; for the program it does
        assert listing([tcp, tcp6, unix, udp], ["web", "web6", "", "names-of_any.kind"]) == [
            "web 3 AF_INET SOCK_STREAM 1 None False",
            "web6 4 AF_INET6 SOCK_STREAM 1 None False",
            " 5 AF_UNIX SOCK_STREAM 1 None False",
            "names-of_any.kind 6 AF_INET SOCK_DGRAM 0 None False",
            "out 7 AF_UNIX SOCK_STREAM 0 None False",
            "[] []",  # taken once; what the program starts hears nothing of it
        ]
        assert tcp.fileno() >= 0  # they stay ours


def test_more_than_a_shell_could_number_and_no_names() -> None:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(30)]
    found = listing(listeners)
    for listener in listeners:
        listener.close()
    assert [line.split()[:2] for line in found[:-1]] == [["unknown", str(number)] for number in range(3, 34)]


def test_our_command_is_served_sockets_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as web, socket.create_server(("127.0.0.1", 0)) as other:
        command = argv("serve", "upper", "--on", "systemd:web", "--quiet")
        with serve_fds(command, [other, web], ["other", "web"], environment()) as process:
            with socket.create_connection(web.getsockname(), PATIENCE) as sock:
                sock.sendall(b"un\n")
                assert sock.recv(10) == b"UN\n"
            process.terminate()
    assert process.returncode == 0


def test_php_is_served_a_socket() -> None:
    need("php")
    code = """
        getenv("LISTEN_PID") == getmypid() and getenv("LISTEN_FDS") == "1" and getenv("LISTEN_FDNAMES") == "web" or exit(1);
        $listener = fopen("php://fd/3", "r+");
        $connection = stream_socket_accept($listener);
        fwrite($connection, strrev(trim(fgets($connection))));
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname(), PATIENCE) as sock:
            with serve_fds(["php", "-r", code], [listener], ["web"]) as process:
                sock.sendall(b"abc\n")
                assert everything(sock) == b"cba"
    assert process.returncode == 0


def test_systemd_socket_activate_passes_them_to_us(tmp_path: Path) -> None:
    need("systemd-socket-activate")
    paths = [str(tmp_path / name) for name in ("one", "two")]
    code = """
from prise.handover.activation import listen_fds
found = listen_fds()
connection, _ = found[1][1].accept()
connection.sendall(" ".join(f"{name}={sock.getsockname()}" for name, sock in found).encode())
"""
    command = ["systemd-socket-activate", *(f"--setenv={name}={value}" for name, value in environment().items())]
    command += [*(f"--listen={path}" for path in paths), "--fdname=a:b", sys.executable, "-c", code]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            said = Lines(process.stderr)
            for path in paths:
                said.expect(f"Listening on {path}")
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(paths[1])
                assert everything(sock).decode() == f"a={paths[0]} b={paths[1]}"
        finally:
            process.terminate()


def test_what_is_meant_for_another_process_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for pid in ("", "1", "x", str(os.getppid())):
        monkeypatch.setenv("LISTEN_PID", pid)
        monkeypatch.setenv("LISTEN_FDS", "2")
        assert listen_fds(unset=False) == []
    assert listen_fds() == []
    assert "LISTEN_FDS" not in os.environ


def test_a_descriptor_that_was_promised_and_is_not_open(capfd: pytest.CaptureFixture[str]) -> None:
    code = "from prise.handover.activation import listen_fds; listen_fds()"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        shell = ["sh", "-c", 'LISTEN_FDS=2 exec "$0" -c "$1"', sys.executable, code]
        process = serve_fds(shell, [listener], env=environment())
        assert process.wait(PATIENCE) == 1
    assert "promises the descriptor 4, which is not open" in capfd.readouterr().err


def test_they_can_be_looked_at_more_than_once() -> None:
    code = """
from prise.handover.activation import listen_fds
first, second = listen_fds(unset=False), listen_fds(unset=False)
first[0][1].close()
(_, out), = listen_fds()
out.sendall(f"{len(second)} {second[0][1].fileno() != out.fileno()}".encode())
second[0][1].close()
"""
    ours, theirs = socket.socketpair()
    with theirs:
        process = serve_fds([sys.executable, "-c", code], [theirs], env=environment())
    assert output(process, ours) == "1 True"


@pytest.mark.parametrize("name", ["a:b", "a\nb", "é", "x" * 256])
def test_names_that_could_be_misunderstood_are_refused(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(UsageError, match="a descriptor's name"):
        serve_fds(["true"], [listener], [name])


def test_each_socket_has_one_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with pytest.raises(UsageError, match="1 sockets need as many names, not 2"):
            serve_fds(["true"], [listener], ["a", "b"])
        with pytest.raises(UsageError, match="between 1 and 1000"):
            serve_fds(["true"], [])


# == what a service tells its manager ====================================================================================


class Told(NamedTuple):
    lines: list[str]
    descriptors: list[int]


class Manager:
    """What a service manager has: a socket to be told at."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        self.socket.bind("\0" + place[1:] if place[0] == "@" else place)

    def hear(self) -> Told:
        """The next datagram. Its descriptors are the caller's."""
        data, rights, _flags, _ = self.socket.recvmsg(65536, socket.CMSG_SPACE(4 * 253), socket.MSG_CMSG_CLOEXEC)
        numbers = array.array("i")
        for _level, _type, value in rights:
            numbers.frombytes(value)
        return Told(data.decode().split("\n"), list(numbers))

    def expect(self, *lines: str) -> list[str]:
        """Waits until it is told all this at once."""
        while True:
            told = self.hear()
            for number in told.descriptors:
                os.close(number)
            if set(lines) <= set(told.lines):
                return told.lines


@pytest.fixture(params=["path", "abstract"])
def manager(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    place = str(tmp_path / "notify") if request.param == "path" else f"@prise-test-{os.getpid()}"
    found = Manager(place)
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    with found.socket:
        yield found


def test_ready_and_all_the_rest(manager: Manager) -> None:
    assert notify(ready=True)
    assert manager.hear().lines == ["READY=1"]
    notify(stopping=True, status="going\nhome", extend_timeout=2.5)
    assert manager.hear().lines == ["STOPPING=1", "STATUS=going home", "EXTEND_TIMEOUT_USEC=2500000"]
    notify(watchdog=True, mainpid=42, ERRNO=2)
    assert manager.hear().lines == ["WATCHDOG=1", "MAINPID=42", "ERRNO=2"]


def test_reloading_says_when(manager: Manager) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify(reloading=True)
    first, second = manager.hear().lines
    name, _, value = second.partition("=")
    assert (first, name) == ("RELOADING=1", "MONOTONIC_USEC")
    assert before <= int(value) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_the_same_as_systemd_notify_says(manager: Manager) -> None:
    need("systemd-notify")
    subprocess.run(["systemd-notify", "--no-block", "--ready", "--status=à vous"], check=True, timeout=PATIENCE)
    theirs = manager.hear().lines
    notify(ready=True, status="à vous")
    assert set(manager.hear().lines) == {line for line in theirs if not line.startswith("MAINPID=")}


def test_without_a_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert notify(ready=True) is False
    assert barrier() is False
    with socket.socket() as sock:
        assert store(sock) is False
        assert sock.fileno() >= 0


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("relative/path", "must be an absolute path"),
        ("@", "must be an absolute path"),
        ("vsock:2:1234", "must be an absolute path"),
        ("/" + "x" * 200, "too long"),
        ("/nobody/listens/here", "could not be told, at /nobody/listens/here"),
    ],
)
def test_a_place_that_cannot_be(monkeypatch: pytest.MonkeyPatch, place: str, reason: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    with pytest.raises(HandoverError, match=reason):
        notify(ready=True)


def test_nothing_can_be_slipped_in(manager: Manager) -> None:
    notify(status="x\nMAINPID=1\r\x0bREADY=1")
    assert manager.hear().lines == ["STATUS=x MAINPID=1  READY=1"]
    with pytest.raises(UsageError, match="told in one line"):
        notify(FDNAME="x\nMAINPID=1")
    with pytest.raises(UsageError, match="nothing to notify of"):
        notify()


def test_a_barrier_waits_until_the_manager_has_come_so_far(manager: Manager) -> None:
    told: list[list[str]] = []

    def slow() -> None:
        told.append(manager.hear().lines)
        lines, descriptors = manager.hear()
        told.append(lines)
        os.close(descriptors[0])

    thread = Thread(target=slow)
    notify(ready=True)
    thread.start()
    assert barrier(PATIENCE)
    thread.join()
    assert told == [["READY=1"], ["BARRIER=1"]]
    with pytest.raises(HandoverError, match=r"within 0\.01 s"):
        barrier(0.01)


def test_how_often_the_manager_wants_to_hear_that_we_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert watchdog_interval() is None
    monkeypatch.setenv("WATCHDOG_USEC", "1500000")
    assert watchdog_interval() == 1.5
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_interval() == 1.5
    monkeypatch.setenv("WATCHDOG_PID", str(os.getppid()))
    assert watchdog_interval() is None  # it is meant for our parent
    for nonsense in ("", "x", "-1", "0", "1_0", "9" * 30):
        monkeypatch.setenv("WATCHDOG_USEC", nonsense)
        with pytest.raises(HandoverError, match="WATCHDOG_USEC is"):
            watchdog_interval()


# == the descriptor store ================================================================================================

OLD = """
from prise.handover import adopt
from prise.handover.fdstore import store
from prise.handover.notify import barrier
connection = adopt(3)
name = connection.receive(30)
connection.send(f"hello {name}")
assert store(connection, {"name": name, "é": [1, None]}, "first")
assert connection.closed
barrier(30)
"""

NEW = """
from prise.handover.activation import listen_fds
from prise.handover.fdstore import stored
(received,) = stored()
assert stored() == []
((name, listener),) = listen_fds()
assert name == "web", name
with received.connection("lines") as connection:
    connection.send(f"{received.header['name']} {received.kind} {received.state}")
    for line in connection:
        connection.send(f"{received.state['name']} said {line}")
"""


@pytest.mark.parametrize("turned_round", [False, True])
def test_a_connection_outlives_its_process(manager: Manager, turned_round: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with prise.connect(listener.getsockname()) as peer:
            peer.send("ada")
            peer.send("one")  # which the old process has read as well, and does not answer
            server, _ = listener.accept()
            with spawn([sys.executable, "-c", OLD], server, fd=3, env=environment(NOTIFY_SOCKET=manager.place)) as old:
                assert peer.receive(PATIENCE) == "hello ada"
                lines, descriptors = manager.hear()
                assert set(lines) == {"FDSTORE=1", "FDPOLL=0", "FDNAME=prise-stored-first"}
                held = [os.fdopen(number, "rb", buffering=0) for number in descriptors]
                told = manager.hear()
                assert told.lines == ["BARRIER=1"]
                os.close(told.descriptors[0])
            assert old.returncode == 0
            peer.send("two")  # while nobody is there
            names = ["prise-stored-first"] * 2 + ["web"]
            given: list[Any] = [*(reversed(held) if turned_round else held), listener]
            with serve_fds([sys.executable, "-c", NEW], given, names, environment(NOTIFY_SOCKET=manager.place)) as new:
                for each in held:
                    each.close()
                assert peer.receive(PATIENCE) == "first stream {'name': 'ada', 'é': [1, None]}"
                assert peer.receive(PATIENCE) == "ada said one"
                assert peer.receive(PATIENCE) == "ada said two"
                assert set(manager.hear().lines) == {"FDSTOREREMOVE=1", "FDNAME=prise-stored-first"}
                peer.send("three")
                peer.send_eof()
                assert [*peer] == ["ada said three"]
            assert new.returncode == 0


def test_halves_that_do_not_belong_together_are_closed(manager: Manager) -> None:
    code = """
import os
from prise.handover.activation import listen_fds
from prise.handover.fdstore import stored
((_, out),) = listen_fds(unset=False)
assert stored() == []
out.sendall(str([number for number in (3, 4, 5) if os.path.exists(f"/dev/fd/{number}")]).encode())
"""
    ours, theirs = socket.socketpair()
    held = []
    for _ in range(2):
        one, other = socket.socketpair()
        with other:
            store(one, "state")
        held.append([os.fdopen(number, "rb", buffering=0) for number in manager.hear().descriptors])
    (one_socket, _), (_, other_memory) = held
    with theirs, os.fdopen(os.memfd_create("x"), "wb", buffering=0) as nonsense:
        nonsense.write(b"\0\0\0\x02{}")
        given: list[Any] = [one_socket, other_memory, nonsense, theirs]
        names = ["prise-stored-x"] * 3 + ["out"]
        process = serve_fds([sys.executable, "-c", code], given, names, environment(NOTIFY_SOCKET=manager.place))
    for file in (file for pair in held for file in pair):
        file.close()
    assert output(process, ours) == "[]"


def test_what_cannot_be_stored_is_still_ours(manager: Manager) -> None:
    one, other = socket.socketpair()
    with one, other:
        with pytest.raises(UsageError, match="what JSON can say"):
            store(one, object())
        with pytest.raises(UsageError, match="a descriptor's name"):
            store(one, None, "a:b")
        manager.socket.close()
        with pytest.raises(HandoverError, match="could not be told"):
            store(one)
        one.sendall(b"x")
        assert other.recv(1) == b"x"


def test_nothing_is_stored() -> None:
    assert stored() == []


# == our own servers =====================================================================================================

SERVERS = [
    *(["serve", "echo", "--model", model] for model in ("threads", "processes", "select", "asyncio")),
    ["serve", "echo", "--model", "asyncio", "--workers", "2"],
    ["web", "."],
    ["relay", "127.0.0.1:0", "127.0.0.1:9"],
]


def started(manager: Manager, *arguments: str, **more: Any) -> Running:
    where = [] if arguments[0] == "relay" else ["--on", "127.0.0.1:0"]
    return Running(*arguments, *where, NOTIFY_SOCKET=manager.place, **more)


@pytest.mark.parametrize("arguments", SERVERS, ids=" ".join)
@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_a_server_says_how_it_is(manager: Manager, arguments: list[str]) -> None:
    with started(manager, *arguments) as server:
        ready = manager.expect("READY=1")
        (status,) = [line for line in ready if line.startswith("STATUS=listening on ")]
        port = int(status.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()  # whoever waits for READY can come at once
        server.signal(signal.SIGHUP)
        assert manager.hear().lines[0] == "RELOADING=1"
        assert manager.hear().lines[0] == "READY=1"
        server.signal(signal.SIGTERM)
        lines = manager.hear().lines
        assert lines[0] == "STOPPING=1"
        assert "EXTEND_TIMEOUT_USEC=1" in " ".join(lines)  # 10 s for the drain, and some
        assert server.wait() == 0


@pytest.mark.parametrize("arguments", SERVERS, ids=" ".join)
@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_a_server_gives_signs_of_life(manager: Manager, arguments: list[str]) -> None:
    with started(manager, *arguments, WATCHDOG_USEC="100000"):
        manager.expect("READY=1")
        for _ in range(3):
            manager.expect("WATCHDOG=1")


@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_a_server_that_hangs_gives_none(manager: Manager, tmp_path: Path) -> None:
    (tmp_path / "hang.py").write_text(
        "import time\n"
        "async def hang(connection):\n"
        "    await connection.send('hanging')\n"
        "    await connection.receive()\n"
        "    time.sleep(1000)  # which nobody does in an event loop\n"
    )
    with started(manager, "serve", f"{tmp_path}/hang.py:hang", WATCHDOG_USEC="100000") as server:
        with prise.connect(f"127.0.0.1:{server.port()}") as peer:
            manager.expect("WATCHDOG=1")
            assert peer.receive(PATIENCE) == "hanging"
            peer.send("now")
            manager.socket.settimeout(0.5)
            with pytest.raises(TimeoutError):
                for _ in range(100):  # a last one or two may be on their way
                    manager.hear()
            server.process.kill()


ASYNCIO = """
import asyncio, signal, prise
from prise.handover.notify import notifying

async def echo(connection):
    async for line in connection:
        await connection.send(line)

async def main():
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    async with prise.listen(echo, "127.0.0.1:0") as server, notifying(f"on {server.address}"):
        await over.wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_a_service_on_asyncio_says_how_it_is(manager: Manager) -> None:
    command = [sys.executable, "-c", ASYNCIO]
    with subprocess.Popen(command, env=environment(NOTIFY_SOCKET=manager.place, WATCHDOG_USEC="100000")) as process:
        assert [line for line in manager.expect("READY=1") if line.startswith("STATUS=on 127.0.0.1:")]
        for _ in range(3):
            manager.expect("WATCHDOG=1")
        process.terminate()
        manager.expect("STOPPING=1")
    assert process.returncode == 0


@pytest.mark.parametrize("place", ["/nobody/listens/here", "nonsense"])
def test_a_server_serves_though_nobody_can_be_told(place: str) -> None:
    with Running("serve", "upper", "--on", "127.0.0.1:0", NOTIFY_SOCKET=place, WATCHDOG_USEC="nonsense") as server:
        with prise.connect(f"127.0.0.1:{server.port()}") as peer:
            peer.send("un")
            assert peer.receive(PATIENCE) == "UN"
        server.signal(signal.SIGHUP)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        said = [line for line in server.err.rest() if "NOTIFY_SOCKET" in line]
        assert len(said) == 1  # once


@pytest.mark.parametrize("manager", ["path"], indirect=True)
def test_a_server_that_cannot_listen_is_never_ready(manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Running(
            "serve", "echo", "--on", "127.0.0.1:0", "--on", f"127.0.0.1:{port}", NOTIFY_SOCKET=manager.place
        ) as server:
            assert server.wait() == 4
    manager.socket.settimeout(0)
    with pytest.raises(BlockingIOError):
        manager.hear()


# == docs/systemd.md and its examples ====================================================================================

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples" / "systemd").iterdir())


def test_the_units_are_what_systemd_understands(tmp_path: Path) -> None:
    need("systemd-analyze")
    prise_here = tmp_path / "prise"
    prise_here.write_text("#!/bin/sh\n")
    prise_here.chmod(0o700)
    units = []
    for path in EXAMPLES:
        if path.suffix in (".service", ".socket"):
            unit = tmp_path / path.name
            unit.write_text(path.read_text().replace("/usr/bin/prise", str(prise_here)))
            units.append(str(unit))
    assert len(units) == 9
    done = subprocess.run(
        ["systemd-analyze", "verify", *units],
        capture_output=True,
        timeout=PATIENCE,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("path", [path for path in EXAMPLES if path.suffix == ".service"], ids=lambda path: path.name)
def test_a_service_has_only_what_it_needs(path: Path) -> None:
    """systemd's own measure, here from 0 to 100; a service without any wall has 96, "medium" begins at 50."""
    need("systemd-analyze")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=25", str(path)]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE, text=True)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_page_shows_them_as_they_are(path: Path) -> None:
    page = (ROOT / "docs" / "systemd.md").read_text()
    assert path.read_text() in page
