"""Unix sockets of every type, who may connect to them, and who did."""

from __future__ import annotations

import os
import select
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import prise
from prise.address import Address
from prise.connection.credentials import Credentials, peer_credentials
from prise.errors import AddressError, BindError, ConnectError
from prise.transports import Listening, bind, dial
from prise.transports.datagrams import DatagramListening
from prise.transports.unix import KINDS

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="as Linux has it")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return "./x.sock"


@contextmanager
def listening(address: str) -> Iterator[Listening]:
    (listener,) = bind(address)
    with listener:
        yield listener


def accept(listener: Listening) -> socket.socket:
    select.select([listener], [], [], 10)
    return listener.accept()[0]


# -- Types -------------------------------------------------------------------------------------------------------------


@linux_only
@pytest.mark.parametrize("name", ["./x.sock", "@prise-test-seqpacket"])
def test_seqpacket_keeps_messages(path: str, name: str) -> None:
    with listening(f"unix,type=seqpacket:{name}") as listener:
        assert str(listener.address) == f"unix,type=seqpacket:{name}"
        with dial(listener.address) as client, accept(listener) as server:
            client.send(b"one")
            client.send(b"two")
            assert [server.recv(100), server.recv(100)] == [b"one", b"two"]
            server.send(bytes(100_000))  # whole, whatever is asked for
            assert len(client.recv(1)) == 100_000
            client.shutdown(socket.SHUT_WR)
            assert server.recv(1) == b""
    assert not os.path.exists(path)


@pytest.mark.parametrize("name", ["./x.sock", pytest.param("@prise-test-dgram", marks=linux_only)])
def test_datagrams_are_answered(path: str, name: str) -> None:
    with listening(f"unix,type=dgram:{name}") as listener:
        assert isinstance(listener, DatagramListening)
        assert str(listener.address) == f"unix,type=dgram:{name}"
        with dial(listener.address) as one, dial(listener.address) as two:
            one.send(b"one")
            two.send(b"")
            for sock, said in (one, b"one"), (two, b""):
                select.select([listener], [], [], 10)
                data, sockaddr, _ = listener.receive()
                assert data == said
                listener.socket.sendto(b"answer to " + data, sockaddr)
                assert sock.recv(100) == b"answer to " + said
    assert not os.path.exists(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_no_type_takes_the_path_of_a_live_one(path: str, kind: str, other: str) -> None:
    with listening(f"unix,type={kind}:{path}") as listener:
        with pytest.raises(BindError, match="something already listens here"):
            bind(f"unix,type={other}:{path}")
        with dial(listener.address):
            pass
        if kind != other:
            with pytest.raises(ConnectError, match=f"of another type than {other}; its type is an option: unix,type="):
                dial(f"unix,type={other}:{path}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_a_dead_path_is_replaced_whatever_it_was(path: str, kind: str, other: str) -> None:
    with socket.socket(socket.AF_UNIX, getattr(socket, KINDS[kind])) as sock:
        sock.bind(path)
    with listening(f"unix,type={other}:{path}") as listener, dial(listener.address):
        pass


def test_a_path_that_does_not_listen_yet_is_not_stolen(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        with pytest.raises(BindError, match="something already listens here"):
            bind(path)


def test_nobody_there(path: str) -> None:
    for kind in KINDS:
        with pytest.raises(ConnectError, match="no such socket"):
            dial(f"unix,type={kind}:{path}")


def test_a_client_that_is_named_by_path_takes_it_away(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel does not choose a name, as outside Linux."""
    monkeypatch.setattr("prise.transports.unix.sys.platform", "darwin")
    monkeypatch.setenv("TMPDIR", os.getcwd())
    monkeypatch.setattr("tempfile.tempdir", None)
    with listening(f"unix,type=dgram:{path}") as listener:
        with dial(f"unix,type=dgram:{path}") as client:
            client.send(b"x")
            (name,) = [each for each in os.listdir() if each.startswith("prise-")]
            assert isinstance(listener, DatagramListening)
            assert listener.receive()[1].endswith(name)
        assert name not in os.listdir()


# -- Who may -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_mode(path: str, kind: str) -> None:
    for mode in ("600", "666"):
        with listening(f"unix,type={kind},mode={mode}:{path}") as listener:
            assert stat.S_IMODE(os.stat(path).st_mode) == int(mode, 8)
            assert "mode" not in str(listener.address)  # what a client needs to know


@as_root
@pytest.mark.parametrize("kind", KINDS)
def test_the_owner(path: str, kind: str) -> None:
    with listening(f"unix,type={kind},owner=daemon,group=12345,mode=660:{path}"):
        found = os.stat(path)
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1, 12345, 0o660)
    with listening(f"unix,type={kind},group=daemon:{path}"):
        assert (os.stat(path).st_uid, os.stat(path).st_gid) == (0, 1)


def test_an_owner_that_there_is_not(path: str) -> None:
    with pytest.raises(BindError, match="no user is called nosuchuser"):
        bind(f"unix,owner=nosuchuser:{path}")
    with pytest.raises(BindError, match="no group is called nosuchgroup"):
        bind(f"unix,group=nosuchgroup:{path}")
    assert not os.path.exists(path)


def test_an_owner_that_is_not_allowed(path: str) -> None:
    os.chmod(".", 0o777)
    for folder in Path.cwd().parents:
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            os.chmod(folder, folder.stat().st_mode | 0o055)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            if not os.getuid():
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            bind(f"unix,owner=0:{path}")
        except BindError as error:
            status = 0 if "not allowed to give the socket to 0" in str(error) and not os.path.exists(path) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@linux_only
@pytest.mark.parametrize("option", ["mode=600", "owner=0", "group=0"])
def test_an_abstract_name_protects_nothing(option: str) -> None:
    with pytest.raises(AddressError, match=f"an abstract name has no {option.partition('=')[0]}: every program"):
        bind(f"unix,{option}:@prise-test-mode")


# -- Who did -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stream", "seqpacket"])
def test_the_process_of_the_peer(path: str, kind: str) -> None:
    with listening(f"unix,type={kind}:{path}") as listener:
        pid = os.fork()
        if not pid:
            with dial(listener.address) as sock:
                sock.recv(1)
            os._exit(0)
        with accept(listener) as server:
            found = peer_credentials(server)
        os.waitpid(pid, 0)
    assert found == Credentials(pid if sys.platform == "linux" else None, os.getuid(), os.getgid())


def test_a_client_sees_who_listens(path: str) -> None:
    with listening(path), dial(path) as client:
        found = peer_credentials(client)
        assert found is not None
        assert found.uid == os.getuid()


def test_sockets_without_credentials(path: str) -> None:
    with socket.socket() as tcp:
        assert peer_credentials(tcp) is None
    with socket.socket(socket.AF_UNIX) as alone:
        assert peer_credentials(alone) is None
    alone = socket.socket(socket.AF_UNIX)
    alone.close()
    assert peer_credentials(alone) is None
    with listening(f"unix,type=dgram:{path}"), dial(f"unix,type=dgram:{path}") as client:
        assert peer_credentials(client) is None


def test_credentials_in_a_conversation(path: str) -> None:
    def who(connection: prise.Connection) -> None:
        connection.send(str(connection.credentials.uid))

    with prise.listen(who, f"unix:{path}"), prise.connect(f"unix:{path}") as connection:
        assert connection.receive() == str(os.getuid())


def test_what_a_client_needs_of_an_address() -> None:
    address = Address.parse("unix,mode=600,type=seqpacket,owner=me:/x")
    assert Address.parse(str(address)) == address


@linux_only
def test_behind_an_empty_packet_there_may_be_more(path: str) -> None:
    """It reads like an end, and is none to the kernel: what is behind it is read away, else a reset would cut the answer."""
    sent = threading.Event()

    def late(connection: prise.Connection) -> None:
        for _ in connection:
            pass
        sent.wait(10)
        connection.send("bye")

    with prise.listen(late, f"unix,type=seqpacket:{path}", model="threads"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.settimeout(10)
            client.connect(path)
            for packet in (b"", b"a", b"b"):
                client.send(packet)
            sent.set()
            assert client.recv(100) == b"bye\n"
