"""Listening: TCP on loopback or every interface, Unix paths that are never stolen, and `mem:` inside one program."""

from __future__ import annotations

import os
import select
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from prise.address import Address
from prise.errors import AddressError, BindError, ConnectError, ResolveError, TooSlow, Unsupported, UsageError
from prise.transports import Listening, bind, describe, dial, family, resolve
from prise.transports.mem import MemListening

LOOPBACK6 = ("::1", 0, 0, 0)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(LOOPBACK6)
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback here")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="abstract names exist on Linux only")


@contextmanager
def listening(address: Any) -> Iterator[list[Listening]]:
    listeners = bind(address)
    try:
        yield listeners
    finally:
        for each in listeners:
            each.close()


def accept(listener: Listening) -> tuple[socket.socket, Any]:
    select.select([listener], [], [], 10)
    return listener.accept()


def exchange(listener: Listening, address: Any) -> None:
    """A client reaches this listener, and both ends carry bytes."""
    with dial(address) as client:
        server, _ = accept(listener)
        with server:
            client.sendall(b"question")
            assert server.recv(100) == b"question"
            server.sendall(b"answer")
            assert client.recv(100) == b"answer"


# -- Resolving ---------------------------------------------------------------------------------------------------------


def test_a_service_name_becomes_a_port() -> None:
    assert resolve("127.0.0.1:http") == [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, ("127.0.0.1", 80))]


def test_special_hosts() -> None:
    assert [endpoint.sockaddr[0] for endpoint in resolve("<broadcast>:9")] == ["255.255.255.255"]
    assert {endpoint.sockaddr[0] for endpoint in resolve(":9")} <= {"::1", "127.0.0.1"}
    assert {endpoint.sockaddr[0] for endpoint in resolve("*:9", passive=True)} <= {"::", "0.0.0.0"}
    with pytest.raises(AddressError, match=r"every interface, to listen on; to connect, .* such as localhost:9"):
        resolve("*:9")


@needs_ipv6
def test_a_zone_is_an_interface() -> None:
    index, name = socket.if_nameindex()[0]
    (endpoint,) = resolve(f"[fe80::1%{name}]:80")
    assert endpoint.sockaddr[3] == index
    assert str(describe(endpoint.family, endpoint.sockaddr)) == f"[fe80::1%{name}]:80"
    with pytest.raises(ResolveError, match="no network interface called nowhere0"):
        resolve("[fe80::1%nowhere0]:80")


def test_what_cannot_be_resolved() -> None:
    with pytest.raises(ResolveError, match=r"resolve tcp localhost:nosuchservice: no service is called nosuchservice"):
        resolve("localhost:nosuchservice")
    with pytest.raises(ResolveError, match="no service is called nosuchservice"):
        resolve(":nosuchservice")
    with pytest.raises(ResolveError, match=r"no host is called a\.\.b"):  # nor can it be written in the DNS
        resolve("a..b:80")


def test_families_by_name() -> None:
    assert family("AF_INET") == family("PF_INET") == socket.AF_INET
    assert family("AF_UNIX") == socket.AF_UNIX
    (endpoint,) = resolve("tcp,family=AF_INET::80")
    assert endpoint.family == socket.AF_INET


@pytest.mark.parametrize("name", ["PF_NOSUCH", "getaddrinfo", "AF_UNSPEC"])
def test_a_family_that_the_platform_lacks_is_said_so(name: str) -> None:
    with pytest.raises(Unsupported, match=f"this platform has no address family {name}"):
        family(name)


def test_tcp_runs_over_the_internet_families_only() -> None:
    with pytest.raises(Unsupported, match="AF_NOSUCH"):
        resolve("tcp,family=AF_NOSUCH:localhost:80")
    with pytest.raises(AddressError, match="not AF_UNIX"):
        resolve("tcp,family=AF_UNIX:localhost:80")
    with pytest.raises(ResolveError, match="no address in the family AF_INET6"):
        resolve("tcp,family=AF_INET6:127.0.0.1:80")


# -- TCP ---------------------------------------------------------------------------------------------------------------


def test_the_port_is_the_real_one() -> None:
    with listening("127.0.0.1:0") as (listener,):
        assert listener.address.port == listener.socket.getsockname()[1] > 0
        exchange(listener, listener.address)


@needs_ipv6
@pytest.mark.parametrize(
    ("address", "hosts"), [("*:0", {"::", "0.0.0.0"}), (":0", {"::1", "127.0.0.1"}), (("", 0), {"::", "0.0.0.0"})]
)
def test_both_families_share_one_port(address: Any, hosts: set[str]) -> None:
    with listening(address) as listeners:
        assert {listener.address.host for listener in listeners} == hosts
        (port,) = {listener.address.port for listener in listeners}
        for listener in listeners:
            exchange(listener, ("::1" if listener.socket.family == socket.AF_INET6 else "127.0.0.1", port))


def test_localhost_is_bound_on_each_of_its_addresses() -> None:
    expected = {endpoint.sockaddr[0] for endpoint in resolve("localhost:0", passive=True)}
    with listening("localhost:0") as listeners:
        assert {listener.address.host for listener in listeners} <= expected
        for listener in listeners:
            exchange(listener, listener.address)


def test_a_listener_neither_blocks_nor_leaks_into_programs() -> None:
    with listening("127.0.0.1:0") as (listener,):
        assert not listener.socket.getblocking()
        assert not listener.socket.get_inheritable()
        with pytest.raises(BlockingIOError):
            listener.accept()
        listener.close()
        assert listener.fileno() == -1
        assert "closed" in repr(listener)


def test_options_reach_both_ends() -> None:
    def option(sock: socket.socket, level: int, name: int) -> bool:
        return bool(sock.getsockopt(level, name))

    nodelay, keepalive = (socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    with listening("127.0.0.1:0") as (listener,), dial(listener.address) as client:
        server, sockaddr = accept(listener)
        with server:
            assert describe(server.family, sockaddr) == describe(client.family, client.getsockname())
            assert option(client, *nodelay)
            assert option(server, *nodelay)
            assert not option(client, *keepalive)
            assert server.getblocking()
            assert client.getblocking()
    with listening("tcp,nodelay=no,keepalive:127.0.0.1:0") as (listener,):
        with dial(f"tcp,nodelay=no,keepalive:127.0.0.1:{listener.address.port}") as client:
            server, _ = accept(listener)
            with server:
                assert not option(client, *nodelay)
                assert not option(server, *nodelay)
                assert option(client, *keepalive)
                assert option(server, *keepalive)


def test_a_busy_port() -> None:
    with listening("127.0.0.1:0") as (first,), pytest.raises(BindError) as caught:
        bind(first.address)
    port = first.address.port
    assert str(caught.value) == (
        f"bind tcp 127.0.0.1:{port}: something already listens on port {port}; "
        "stop it, or choose another port (0 takes any free one); a program that has just ended may keep it for a minute"
    )
    assert caught.value.exit_code == 4


@needs_ipv6
def test_every_interface_or_none() -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match="already listens"):
            bind(f"*:{port}")
        with listening(f"[::1]:{port}"):  # nothing was left behind on the other family
            pass


def test_a_port_is_free_again_at_once() -> None:
    with listening("127.0.0.1:0") as (listener,):
        exchange(listener, listener.address)
    with listening(listener.address):
        pass


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT here")
def test_reuseport_lets_two_listen() -> None:
    with listening("tcp,reuseport:127.0.0.1:0") as (first,), listening(f"tcp,reuseport:{first.address}"):
        pass


def test_an_address_of_another_machine() -> None:
    with pytest.raises(BindError, match=r"192\.0\.2\.99 is not an address of this machine"):  # RFC 5737: nobody's
        bind("192.0.2.99:0")


def test_a_port_that_needs_rights() -> None:
    child = os.fork()
    if child == 0:  # rights can be given up, not asked for
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            bind("127.0.0.1:1")
        except BindError as error:
            os._exit(0 if "ports below 1024 need administrator rights" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in ((0,) if privileged_ports() else (0, 2))


def privileged_ports() -> bool:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 1
    except OSError:
        return False


# -- Unix --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)  # test folders have long names, the paths of sockets are short
    return "./x.sock"


def dead(path: str) -> None:
    """What a killed server leaves behind."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)


def test_a_path(path: str) -> None:
    with listening(path) as (listener,):
        assert str(listener.address) == "unix:./x.sock"
        exchange(listener, path)
        exchange(listener, Path("x.sock"))
    assert not os.path.exists(path)


@linux_only
def test_an_abstract_name() -> None:
    name = f"unix:@prise-test-{os.getpid()}"
    with listening(name) as (listener,):
        exchange(listener, name)
        assert str(describe(socket.AF_UNIX, listener.socket.getsockname())) == name
        with pytest.raises(BindError, match="already listens"):
            bind(name)
    with pytest.raises(ConnectError, match="nothing listens"):
        dial(name)


def test_a_live_path_is_not_stolen(path: str) -> None:
    with listening(path) as (listener,):
        with pytest.raises(BindError, match=r"bind unix:\./x\.sock: something already listens here"):
            bind(path)
        with pytest.raises(BlockingIOError):  # nothing of the attempt is seen
            listener.accept()
        exchange(listener, path)


def test_a_full_server_is_a_live_one(path: str) -> None:
    with listening(f"unix,backlog=1:{path}") as (listener,):
        clients = fill(path)
        with pytest.raises(BindError, match="already listens"):
            bind(path)
        for client in clients:
            client.close()
        assert listener.fileno() >= 0


def fill(path: str) -> list[socket.socket]:
    """Connects until the backlog is full (Linux says so, others refuse)."""
    clients = []
    for _ in range(10):
        clients.append(socket.socket(socket.AF_UNIX))
        clients[-1].setblocking(False)
        if clients[-1].connect_ex(path):
            break
    return clients


def test_a_dead_path_is_replaced(path: str) -> None:
    dead(path)
    with pytest.raises(ConnectError, match=r"connect unix:\./x\.sock: connection refused"):
        dial(path)
    with listening(path) as (listener,):
        exchange(listener, path)


def test_of_many_that_replace_a_dead_path_one_wins(path: str) -> None:
    dead(path)
    starter, gate = os.pipe()
    results, result = os.pipe()
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            try:
                os.close(gate)
                os.read(starter, 1)  # all begin at once
                try:
                    (listener,) = bind(path)
                    os.write(result, b"1")
                    while True:  # lives on, so that the others find somebody
                        accept(listener)[0].close()
                except BindError:
                    os.write(result, b"0")
            finally:
                os._exit(0)
        children.append(child)
    os.close(gate)
    os.close(starter)
    outcome = b""
    while len(outcome) < 8:
        outcome += os.read(results, 8)
    os.close(results)
    os.close(result)
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert sorted(outcome) == sorted(b"10000000")


def test_a_dead_path_stays_where_the_folder_is_locked_by_another(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr("prise.transports.unixpath.LOCK_TIME", 0.05)
    dead(path)
    folder = os.open(".", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(BindError, match="remove it by hand"):
            bind(path)
        os.unlink(path)
        with listening(path):  # a new path needs no lock
            pass
    finally:
        os.close(folder)


def test_a_file_that_is_no_socket_is_left_alone(path: str) -> None:
    Path(path).write_text("precious")
    with pytest.raises(BindError, match="not a socket"):
        bind(path)
    assert Path(path).read_text() == "precious"


def test_another_kind_of_socket_is_left_alone(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        with pytest.raises(BindError, match="something already listens"):
            bind(path)
        with pytest.raises(ConnectError, match=r"of another type than stream; .* unix,type=dgram:"):
            dial(path)


def test_closing_removes_the_path_only_if_it_is_still_ours(path: str) -> None:
    with listening(path):
        os.unlink(path)
        with listening(path) as (other,):
            pass
        dead(path)
    assert stat.S_ISSOCK(os.lstat(path).st_mode)
    assert other.fileno() == -1


def test_a_moving_listener_keeps_its_path(path: str) -> None:
    (listener,) = bind(path)
    listener.close(unlink=False)
    assert os.path.exists(path)


def test_a_forked_worker_does_not_remove_the_path(path: str) -> None:
    with listening(path) as (listener,):
        child = os.fork()
        if child == 0:
            try:
                listener.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        exchange(listener, path)


def test_the_path_is_removed_from_another_folder_too(path: str) -> None:
    before = os.getcwd()
    with listening(path):
        os.chdir("/")
    os.chdir(before)
    assert not os.path.exists(path)


def test_the_mode(path: str) -> None:
    with listening(f"unix,mode=600:{path}"):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with listening(f"unix,mode=666:{path}"):  # wider than the umask, because it was asked for
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
    before = os.umask(0o027)
    try:
        with listening(path):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o750
    finally:
        os.umask(before)


def test_paths_that_cannot_be(path: str) -> None:
    with pytest.raises(AddressError, match=r"the path is too long: 209 bytes, a Unix socket has at most 10\d"):
        bind("unix:/tmp/" + "é" * 102)
    with pytest.raises(BindError, match=r"the folder .*/missing does not exist"):
        bind("./missing/x.sock")
    with pytest.raises(AddressError, match="unnamed"):
        dial("unix:")
    with pytest.raises(ConnectError, match="no such socket; is the server running"):
        dial(path)


def test_a_full_backlog_is_waited_for(path: str) -> None:
    with listening(f"unix,backlog=1:{path}") as (listener,):
        clients = fill(path)
        with pytest.raises(TooSlow, match=r"no answer within 0\.02 s"):
            dial(path, timeout=0.02)
        for client in clients:
            client.close()
        while select.select([listener], [], [], 0)[0]:
            listener.accept()[0].close()
        exchange(listener, path)


# -- mem ---------------------------------------------------------------------------------------------------------------


def test_mem() -> None:
    with listening("mem:test") as (listener,):
        assert str(listener.address) == "mem:test"
        with pytest.raises(BlockingIOError):
            listener.accept()
        exchange(listener, "mem:test")
        exchange(listener, "mem:test")
        with pytest.raises(BindError, match="bind mem:test: something in this program already listens"):
            bind("mem:test")
        assert resolve("mem:test") == []
    with pytest.raises(UsageError, match="connect mem:test: nothing listens here"):
        dial("mem:test")
    with listening("mem:test"):  # the name is free again
        pass


def test_mem_connections_do_not_leak_into_programs() -> None:
    with listening("mem:test") as (listener,), dial("mem:test") as client:
        server, sockaddr = accept(listener)
        with server:
            assert not server.get_inheritable()
            assert not client.get_inheritable()
            assert server.getblocking()
            assert client.getblocking()
            assert str(describe(server.family, sockaddr)) == "unix:"


def test_mem_reaches_across_a_fork() -> None:
    with listening("mem:test") as (listener,):
        child = os.fork()
        if child == 0:
            try:
                with dial("mem:test") as client:
                    client.sendall(b"from the child")
            finally:
                os._exit(0)
        server, _ = accept(listener)
        with server:
            assert server.recv(100) == b"from the child"
        os.waitpid(child, 0)


def test_a_mem_listener_that_never_accepts_holds_a_bounded_number() -> None:
    with listening("mem:test"):
        clients: list[socket.socket] = []

        def dial_many() -> None:
            for _ in range(5000):
                clients.append(dial("mem:test", timeout=0.02))

        with pytest.raises(TooSlow, match="too many connections waiting"):
            dial_many()
        for client in clients:
            client.close()


def test_a_mem_listener_out_of_descriptors_says_so_as_accept_does() -> None:
    resource = pytest.importorskip("resource")
    with listening("mem:test") as (listener,):
        assert isinstance(listener, MemListening)
        client = dial("mem:test")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            with pytest.raises(OSError, match="Too many open files"):
                listener.accept()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert client.recv(1) == b""  # its connection is lost
        client.close()
        exchange(listener, "mem:test")


# -- Describing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "sockaddr", "text"),
    [
        (socket.AF_INET, ("127.0.0.1", 80), "127.0.0.1:80"),
        (socket.AF_INET6, ("::1", 80, 0, 0), "[::1]:80"),
        (socket.AF_INET6, ("fe80::1", 80, 0, 4_000_000), "[fe80::1%4000000]:80"),  # the interface is gone
        (socket.AF_INET, "", "tcp:"),  # the peer was gone before it was asked
        (socket.AF_UNIX, "", "unix:"),
        (socket.AF_UNIX, None, "unix:"),
        (socket.AF_UNIX, "/run/x.sock", "unix:/run/x.sock"),
        (socket.AF_UNIX, "@file", "unix:./@file"),
        (socket.AF_UNIX, b"\0name", "unix:@name"),
        (9999, ("x", 1), "9999:('x', 1)"),
    ],
)
def test_describe(number: int, sockaddr: Any, text: str) -> None:
    assert str(describe(number, sockaddr)) == text


def test_an_unknown_scheme_has_no_transport() -> None:
    with pytest.raises(Unsupported, match="no transport for pigeon"):
        resolve(Address("pigeon", path="coop"))


def test_a_reset_connection_is_still_handed_out() -> None:
    with listening("127.0.0.1:0") as (listener,):
        client = dial(listener.address)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        server, sockaddr = accept(listener)
        with server:
            assert describe(server.family, sockaddr).host == "127.0.0.1"
