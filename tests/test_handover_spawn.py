"""A program that is started with a connection: as its standard input and output, or as descriptor N, whichever program it is."""

from __future__ import annotations

import os
import shlex
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

import prise
from cli_process import PATIENCE
from peers import need
from prise.errors import HandoverError, UsageError
from prise.handover import Channel, adopt
from prise.handover.spawn import spawn, ucspi
from tls_support import client_tls, server_tls


def tcp_pair(host: str = "127.0.0.1", family: int = socket.AF_INET) -> tuple[socket.socket, socket.socket]:
    """A client, which a test is, and the server's side of its connection."""
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        client = socket.socket(socket.AF_INET6 if ":" in host and family == socket.AF_INET6 else family)
        client.settimeout(PATIENCE)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        return client, server


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    client, server = tcp_pair()
    with client, server:
        yield client, server


Pair = tuple[socket.socket, socket.socket]


def everything(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def said(client: socket.socket, data: bytes) -> bytes:
    """All that comes back for this input."""
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    return everything(client)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


# -- as standard input and output ----------------------------------------------------------------------------------------


def test_a_program_answers_the_peer(pair: Pair) -> None:
    client, server = pair
    with spawn(["cat"], server) as process:
        assert said(client, b"un\ndeux\n") == b"un\ndeux\n"
    assert process.returncode == 0


def test_our_copy_is_closed_so_the_peer_sees_the_end_when_the_program_ends(pair: Pair) -> None:
    client, server = pair
    with spawn(["true"], server):
        assert server.fileno() == -1
        assert everything(client) == b""  # while our own input has not ended


def test_php_reads_and_prints(pair: Pair) -> None:
    need("php")
    client, server = pair
    with spawn(["php", "-r", "while (($line = fgets(STDIN)) !== false) { echo strtoupper($line); }"], server):
        client.sendall(b"un\n")
        assert client.recv(100) == b"UN\n"
        assert said(client, b"deux\n") == b"DEUX\n"


def test_a_shared_connection_ends_when_both_have_closed_it(pair: Pair) -> None:
    client, server = pair
    server.settimeout(5)
    with spawn(["echo", "from the program"], server, keep=True) as process:
        assert process.wait(PATIENCE) == 0
        server.sendall(b"from us\n")
        assert server.gettimeout() == 5
        server.close()
        assert everything(client) == b"from the program\nfrom us\n"


def test_a_socket_that_did_not_block_blocks_for_the_program(pair: Pair) -> None:
    client, server = pair
    server.setblocking(False)
    with spawn(python("import os; print(os.get_blocking(0), os.read(0, 9))"), server):
        client.sendall(b"late")  # by now a read that does not block may have failed
        assert everything(client) == b"True b'late'\n"


def test_no_other_descriptor_is_inherited(pair: Pair) -> None:
    client, server = pair
    read, write = os.pipe()
    os.set_inheritable(read, True)
    with spawn(python("import os; print(sorted(map(int, os.listdir('/dev/fd')))[:-1])"), server):
        assert everything(client) == b"[0, 1, 2]\n"
    os.close(read)
    os.close(write)


# -- as descriptor N -----------------------------------------------------------------------------------------------------

SHOW = """
import os, socket, sys
number = int(sys.argv[1])
found = []
for each in sorted(map(int, os.listdir("/dev/fd"))):
    try:
        os.fstat(each)
        found.append(each)
    except OSError:
        pass  # that with which the folder was read
with socket.socket(fileno=number) as sock:
    sock.sendall(f"{found == [0, 1, 2, number]} {os.read(0, 9)}".encode())
"""


@pytest.mark.parametrize("number", [3, 4, 9, 10, 64, 500])
def test_exactly_this_number(pair: Pair, number: int) -> None:
    client, server = pair
    with spawn([*python(SHOW), str(number)], server, fd=number) as process:
        assert everything(client) == b"True b''"  # no other one is open, and there is nothing on standard input
    assert process.returncode == 0


def test_the_number_that_it_has_here_too(pair: Pair) -> None:
    client, server = pair
    number = server.fileno()
    with spawn([*python(SHOW), str(number)], server, fd=number):
        assert everything(client) == b"True b''"


def test_php_opens_it_by_its_number(pair: Pair) -> None:
    need("php")
    client, server = pair
    code = '$stream = fopen("php://fd/3", "r+"); fwrite($stream, strrev(trim(fgets($stream))));'
    with spawn(["php", "-r", code], server, fd=3):
        assert said(client, b"abc\n") == b"cba"


def test_many_threads_start_programs_at_once() -> None:
    """Nothing in this process is renumbered, not even for a moment."""

    def one(number: int) -> bytes:
        client, server = tcp_pair()
        with client, server, spawn(["sh", "-c", "read line <&3; echo $line >&3"], server, fd=3):
            return said(client, b"%d\n" % number)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(one, range(24))) == [b"%d\n" % number for number in range(24)]


def test_the_program_starts_as_if_nothing_had_been_in_between(pair: Pair) -> None:
    """Python runs for a moment in the new process. It ignores SIGPIPE and may set LC_CTYPE, and the program sees neither."""
    client, server = pair
    wanted = {"PATH": os.environ["PATH"], "ODD": "a b\n=é"}
    with spawn(["sh", "-c", "env -0 >&3; kill -PIPE $$; echo survived >&3"], server, fd=3, env=wanted) as process:
        found = dict(each.split("=", 1) for each in everything(client).decode().split("\0") if each)
    assert process.returncode == -13
    ours = {name: value for name, value in found.items() if name not in ("PWD", "OLDPWD", "_", "SHLVL")}
    assert {name: value for name, value in ours.items() if name != "PROTO" and not name.startswith("TCP")} == wanted


def test_a_channel_to_a_program_that_hands_connections_back(pair: Pair) -> None:
    """The program gets a channel as descriptor 3, and everything else over it: no start for each connection."""
    client, server = pair
    code = """
from prise.handover import Channel
with Channel.inherited() as channel:
    while received := channel.receive():
        with received.connection() as connection:
            connection.send(f"{received.state} {connection.receive(5)}")
"""
    ours, theirs = socket.socketpair()
    path = str(Path(prise.__file__).parent.parent)
    with spawn(python(code), theirs, fd=3, env={**os.environ, "PYTHONPATH": path}) as process:
        with Channel(ours) as channel:
            channel.send(server, state="state", timeout=PATIENCE)
            assert said(client, b"line\n") == b"state line\n"
        assert process.wait(PATIENCE) == 0


# -- what was read already -----------------------------------------------------------------------------------------------


def connected(server: socket.socket) -> prise.Connection:
    return adopt(server)


def test_a_connection_between_two_messages(pair: Pair) -> None:
    client, server = pair
    connection = connected(server)
    server.close()
    client.sendall(b"for us\n")
    assert connection.receive(PATIENCE) == "for us"
    with spawn(["cat"], connection):
        assert connection.closed
        assert said(client, b"for the program\n") == b"for the program\n"


def test_bytes_that_were_read_already_cannot_be_put_back(pair: Pair) -> None:
    client, server = pair
    connection = connected(server)
    server.close()
    client.sendall(b"for us\nfor the program\nand h")
    assert connection.receive(PATIENCE) == "for us"
    with pytest.raises(HandoverError, match="21 bytes were read from this connection already"):
        spawn(["cat"], connection)
    assert connection.receive(PATIENCE) == "for the program"  # it is still ours
    connection.close()


def test_but_can_be_relayed(pair: Pair) -> None:
    client, server = pair
    connection = connected(server)
    server.close()
    client.sendall(b"for us\nfor the program\nand h")
    assert connection.receive(PATIENCE) == "for us"
    big = b"x" * 1_000_000
    with spawn(["cat"], connection, relay=True) as process, ThreadPoolExecutor(1) as thread:
        received = thread.submit(everything, client)
        client.sendall(b"alf\n" + big)
        client.shutdown(socket.SHUT_WR)
        assert received.result(PATIENCE) == b"for the program\nand half\n" + big
    assert process.returncode == 0


def test_a_program_that_ends_ends_what_is_relayed(pair: Pair) -> None:
    client, server = pair
    with spawn(["echo", "goodbye"], server, relay=True):
        assert everything(client) == b"goodbye\n"  # while our own input has not ended


# -- in a server ---------------------------------------------------------------------------------------------------------


def to_cat(connection: prise.Connection) -> None:
    """A conversation that begins here, and goes on in a program, which the peer may well have written to already."""
    connection.send("who are you?")
    name = connection.receive()
    spawn(["sed", "-u", f"s/^/{name}: /"], connection, relay=True).wait()


@pytest.mark.parametrize("model", ["threads", "processes"])
def test_a_conversation_goes_on_in_a_program(model: str) -> None:
    with prise.listen(to_cat, "127.0.0.1:0", model=model) as server, prise.connect(server.address) as connection:
        assert connection.receive(PATIENCE) == "who are you?"
        connection.send("ada")
        connection.send("un")
        assert connection.receive(PATIENCE) == "ada: un"
        connection.send("deux")
        connection.send_eof()
        assert [*connection] == ["ada: deux"]


def test_a_conversation_through_tls_goes_on_in_clear_in_a_program() -> None:
    with prise.listen(to_cat, "tls:127.0.0.1:0", model="threads", tls=server_tls()) as server:
        with prise.connect(f"tls:localhost:{server.address.port}", tls=client_tls()) as connection:
            assert connection.receive(PATIENCE) == "who are you?"
            connection.send("ada")
            connection.send("un")
            assert connection.receive(PATIENCE) == "ada: un"


# -- what cannot be ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 3])
def test_a_program_that_does_not_exist(pair: Pair, number: int) -> None:
    client, server = pair
    server.settimeout(5)
    with pytest.raises(HandoverError, match="there is no program no-such-program that can be run"):
        spawn(["no-such-program"], server, fd=number)
    assert server.gettimeout() == 5
    client.sendall(b"still ours")
    assert server.recv(100) == b"still ours"


@pytest.mark.parametrize(("number", "code"), [(0, None), (3, 126)])
def test_a_program_that_is_none(pair: Pair, tmp_path: Path, number: int, code: int | None, capfd: object) -> None:
    _client, server = pair
    (tmp_path / "x").write_bytes(b"\0nothing that could be run")
    (tmp_path / "x").chmod(0o700)
    if code is None:
        with pytest.raises(HandoverError, match="x could not be started: Exec format error"):
            spawn([tmp_path / "x"], server, fd=number)
        assert server.fileno() >= 0
    else:
        assert spawn([tmp_path / "x"], server, fd=number).wait(PATIENCE) == code


def test_tls_is_refused(pair: Pair) -> None:
    _client, server = pair
    context = ssl.create_default_context()
    with context.wrap_socket(server, do_handshake_on_connect=False, server_hostname="localhost") as encrypted:
        with pytest.raises(HandoverError, match="an SSLSocket cannot change hands"):
            spawn(["cat"], encrypted)
        assert encrypted.fileno() >= 0


def test_mistakes_are_named(pair: Pair) -> None:
    _client, server = pair
    for number in (-1, 1, 2):
        with pytest.raises(UsageError, match="descriptor 0"):
            spawn(["cat"], server, fd=number)
    argvs: list[str | list[str]] = ["cat -u", []]
    for argv in argvs:
        with pytest.raises(UsageError, match="list of words"):
            spawn(argv, server)
    with pytest.raises(HandoverError, match="could not be started"):
        spawn(["cat"], server, fd=2_000_000_000)  # more than may be open
    server.sendall(b"still ours")


# -- who talks: UCSPI ----------------------------------------------------------------------------------------------------


def environment_of(client: socket.socket, server: socket.socket) -> dict[str, str]:
    with spawn(["env", "-0"], server):
        found = dict(each.split("=", 1) for each in everything(client).decode().split("\0") if each)
    return {name: value for name, value in found.items() if name == "PROTO" or name.startswith(("TCP", "UNIX"))}


def test_tcp(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = pair
    monkeypatch.setenv("TCPREMOTEHOST", "somebody.else")  # of the connection that we ourselves were started with
    monkeypatch.setenv("TCP6REMOTEIP", "::2")
    ours, theirs = client.getsockname(), server.getsockname()
    assert environment_of(client, server) == {
        "PROTO": "TCP",
        "TCPREMOTEIP": "127.0.0.1",
        "TCPREMOTEPORT": str(ours[1]),
        "TCPLOCALIP": "127.0.0.1",
        "TCPLOCALPORT": str(theirs[1]),
    }


def test_the_same_as_tcpserver_says() -> None:
    need("tcpserver")
    command = ["tcpserver", "-1", "-q", "-H", "-R", "-l", "localhost", "127.0.0.1", "0", "env"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            where = ("127.0.0.1", int(process.stdout.readline()))
            with socket.create_connection(where, PATIENCE) as client:
                found = dict(line.split("=", 1) for line in everything(client).decode().splitlines() if "=" in line)
                port = client.getsockname()[1]
        finally:
            process.terminate()
    theirs = {name: value for name, value in found.items() if name == "PROTO" or name.startswith("TCP")}
    assert theirs.pop("TCPLOCALHOST") == "localhost"  # names are looked up by it, not by us
    client, server = tcp_pair()
    with client, server:
        ours = ucspi(server)
        assert ours.keys() == theirs.keys()
        same = {"TCPREMOTEPORT": str(port), "TCPLOCALPORT": str(where[1])}
        assert {**ours, **same} == theirs


def test_tcp_on_ipv6() -> None:
    client, server = tcp_pair("::1", socket.AF_INET6)
    with client, server:
        ours, theirs = str(client.getsockname()[1]), str(server.getsockname()[1])
        assert environment_of(client, server) == {
            "PROTO": "TCP6",
            "TCPREMOTEIP": "::1",
            "TCPREMOTEPORT": ours,
            "TCPLOCALIP": "::1",
            "TCPLOCALPORT": theirs,
            "TCP6REMOTEIP": "::1",
            "TCP6REMOTEPORT": ours,
            "TCP6LOCALIP": "::1",
            "TCP6LOCALPORT": theirs,
        }


def test_an_ipv4_peer_of_an_ipv6_socket_is_one_of_tcp() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1])) as client:
            server, _ = listener.accept()
            with server:
                assert server.getpeername()[0] == "::ffff:127.0.0.1"
                found = environment_of(client, server)
    assert found["PROTO"] == "TCP"
    assert found["TCPREMOTEIP"] == found["TCPLOCALIP"] == "127.0.0.1"
    assert not [name for name in found if name.startswith("TCP6")]


def test_unix(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sock")
    with closing(socket.socket(socket.AF_UNIX)) as listener, closing(socket.socket(socket.AF_UNIX)) as client:
        listener.bind(path)
        listener.listen()
        client.connect(path)
        server, _ = listener.accept()
        with server:
            assert environment_of(client, server) == {
                "PROTO": "UNIX",
                "UNIXLOCALPATH": path,
                "UNIXREMOTEEUID": str(os.geteuid()),
                "UNIXREMOTEEGID": str(os.getegid()),
                "UNIXREMOTEPID": str(os.getpid()),
            }


def test_a_shell_script_greets_by_address(pair: Pair) -> None:
    client, server = pair
    with spawn(shlex.split("""sh -c 'echo "hello $TCPREMOTEIP"'"""), server):
        assert everything(client) == b"hello 127.0.0.1\n"
