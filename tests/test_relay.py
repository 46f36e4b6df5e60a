"""`prise.Relay`: two addresses joined. Each behaviour inside the kernel (splice) and through this process (a tap looks on)."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import prise
from prise.relay import Passage, Relay, Tap
from prise.relay import splice as splicing
from prise.relay.networks import Networks
from prise.relay.rate import Bucket
from tls_support import issue

PATIENCE = 20.0
MEGABYTE = 1024 * 1024


class Looking(Tap):
    """Has the bytes go through this process, and keeps what it is told."""

    wants_data = True

    def __init__(self) -> None:
        self.heard: list[tuple[str, object]] = []
        self.over = threading.Event()
        self.passages: list[Passage] = []

    def opened(self, passage):
        self.heard.append(("opened", passage.number))

    def data(self, passage, side, data):
        self.heard.append((side, data))

    def ended(self, passage, side):
        self.heard.append((side, "end"))

    def reset(self, passage, side):
        self.heard.append((side, "reset"))

    def closed(self, passage):
        self.passages.append(passage)
        self.over.set()


class Ends(Looking):
    """The same without the bytes: the kernel may move them."""

    wants_data = False


@pytest.fixture(params=["kernel", "process"])
def tap(request):
    """Each way that bytes can take."""
    if request.param == "kernel":
        if not splicing.available():
            pytest.skip("no splice(2) here")
        return Ends()
    return Looking()


def patient(sock: socket.socket) -> socket.socket:
    sock.settimeout(PATIENCE)
    return sock


@contextmanager
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield patient(listener)


def accept(listener: socket.socket) -> socket.socket:
    return patient(listener.accept()[0])


def connect(address: prise.Address) -> socket.socket:
    if address.scheme == "unix":
        sock = patient(socket.socket(socket.AF_UNIX))
        sock.connect(address.path or "")
        return sock
    return patient(socket.create_connection((address.host or "127.0.0.1", address.port)))


def at(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def relayed(tap: Looking, **options) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client and the server that it reaches through a relay."""
    with server() as listener, Relay("127.0.0.1:0", at(listener), taps=[tap], **options) as relay:
        with connect(relay.address) as client, accept(listener) as far:
            yield client, far


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def exactly(sock: socket.socket, count: int) -> bytes:
    with sock.makefile("rb", buffering=0) as file:
        data = b""
        while len(data) < count and (piece := file.read(count - len(data))):
            data += piece
    return data


def break_off(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# What is carried


def test_both_ways(tap):
    with relayed(tap) as (client, far):
        client.sendall(b"question")
        assert far.recv(100) == b"question"
        far.sendall(b"answer")
        assert client.recv(100) == b"answer"


def test_the_server_may_speak_first(tap):
    with relayed(tap) as (client, far):
        far.sendall(b"220 ready\r\n")
        assert client.recv(100) == b"220 ready\r\n"


def test_what_the_client_says_before_the_server_is_there_is_kept():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        with Relay("127.0.0.1:0", at(listener)) as relay:
            listener.listen()  # bound first, so that nobody else gets the port
            with connect(relay.address) as client:
                client.sendall(b"early")
                client.shutdown(socket.SHUT_WR)
                with patient(listener.accept()[0]) as far:
                    assert read_all(far) == b"early"


def test_much_both_ways_at_once(tap):
    data = os.urandom(MEGABYTE) * 24
    found: dict[str, bytes] = {}

    def write(sock: socket.socket) -> None:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    def read(name: str, sock: socket.socket) -> None:
        digest = hashlib.sha256()
        while piece := sock.recv(200_000):
            digest.update(piece)
        found[name] = digest.digest()

    with relayed(tap) as (client, far):
        threads = [threading.Thread(target=write, args=(sock,)) for sock in (client, far)]
        threads += [threading.Thread(target=read, args=each) for each in (("client", client), ("far", far))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert found["client"] == found["far"] == hashlib.sha256(data).digest()
    assert tap.over.wait(PATIENCE)
    assert (tap.passages[0].to_server, tap.passages[0].to_client) == (len(data), len(data))
    assert tap.passages[0].error is None


def test_one_direction_goes_on_while_the_other_is_stuck(tap):
    """The client does not read, and yet what it sends arrives."""
    with relayed(tap) as (client, far):
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                far.send(b"x" * MEGABYTE)
        far.settimeout(PATIENCE)
        client.sendall(b"y" * MEGABYTE)
        assert len(exactly(far, MEGABYTE)) == MEGABYTE


# How it ends


def test_the_end_of_the_client_is_passed_on_and_the_answer_comes_back(tap):
    with relayed(tap) as (client, far):
        client.sendall(b"all of it")
        client.shutdown(socket.SHUT_WR)
        assert read_all(far) == b"all of it"
        far.sendall(b"late reply")
        far.close()
        assert read_all(client) == b"late reply"
    assert tap.over.wait(PATIENCE)
    assert tap.passages[0].error is None


def test_the_end_of_the_server_is_passed_on_and_the_client_goes_on(tap):
    with relayed(tap) as (client, far):
        far.sendall(b"that was all")
        far.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"that was all"
        client.sendall(b"one more thing")
        client.shutdown(socket.SHUT_WR)
        assert read_all(far) == b"one more thing"


@pytest.mark.parametrize("breaks", ["client", "server"])
def test_a_reset_is_passed_on_as_a_reset(tap, breaks):
    with relayed(tap) as (client, far):
        client.sendall(b"hello")
        assert far.recv(100) == b"hello"
        gone, left = (client, far) if breaks == "client" else (far, client)
        break_off(gone)
        with pytest.raises(ConnectionResetError):
            left.recv(100)
    assert tap.over.wait(PATIENCE)
    assert isinstance(tap.passages[0].error, prise.ConnectionLost)
    assert (breaks, "reset") in tap.heard


def test_an_end_and_then_a_reset(tap):
    """The client ends its side; later the server breaks off."""
    with relayed(tap) as (client, far):
        client.shutdown(socket.SHUT_WR)
        assert far.recv(100) == b""
        break_off(far)
        with pytest.raises(ConnectionResetError):
            client.recv(100)


def test_who_sends_to_somebody_who_left_is_told(tap):
    """The client has closed altogether: the server's bytes have nowhere to go, and it sees that."""
    with relayed(tap) as (client, far):
        client.close()
        assert far.recv(100) == b""
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                far.sendall(b"x" * 65536)


def test_what_was_said_before_leaving_still_arrives(tap):
    """A Unix client writes and goes, while the server, who has not read yet, writes to it."""
    with server() as listener, tempfile_socket() as path:
        with Relay(path, at(listener), taps=[tap]) as relay:
            client = connect(relay.address)
            far = accept(listener)
            client.sendall(b"x" * 100_000)
            client.close()
            with far:
                assert len(read_all(far)) == 100_000


@contextmanager
def tempfile_socket() -> Iterator[str]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        yield f"{folder}/a.sock"


def test_a_server_that_is_not_there(caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: refused
        tap = Ends()
        with Relay("127.0.0.1:0", at(free), taps=[tap]) as relay:
            for _ in range(2):  # and it goes on
                tap.over.clear()
                with pytest.raises(ConnectionResetError), connect(relay.address) as client:  # perhaps already there
                    client.recv(100)
                assert tap.over.wait(PATIENCE)
    assert [type(passage.error) for passage in tap.passages] == [prise.ConnectError] * 2


def test_draining_ends_the_input_and_waits_for_the_answer(tap):
    with server() as listener:
        relay = Relay("127.0.0.1:0", at(listener), taps=[tap]).start()
        with connect(relay.address) as client, accept(listener) as far:
            client.sendall(b"question")
            assert far.recv(100) == b"question"
            thread = threading.Thread(target=relay.drain)
            thread.start()
            assert far.recv(100) == b""
            far.sendall(b"answer")
            far.close()
            assert read_all(client) == b"answer"
            thread.join(PATIENCE)
        assert relay.stats().open == 0


def test_stopping_cuts(tap):
    with server() as listener:
        relay = Relay("127.0.0.1:0", at(listener), taps=[tap]).start()
        with connect(relay.address) as client, accept(listener) as far:
            client.sendall(b"question")
            assert far.recv(100) == b"question"
            relay.stop()
            with pytest.raises(ConnectionError):
                assert client.recv(100)
                raise ConnectionError
        assert relay.stats().open == 0


# Bounds


def test_idle_closes_what_is_silent_both_ways(tap):
    with relayed(tap, idle=0.2) as (client, far):
        assert client.recv(100) == b""
        assert far.recv(100) == b""
    assert tap.over.wait(PATIENCE)
    assert isinstance(tap.passages[0].error, prise.TooSlow)


def test_one_direction_keeps_it_from_being_idle(tap):
    with relayed(tap, idle=0.5) as (client, far):
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            client.sendall(b".")
            assert far.recv(1) == b"."
            threading.Event().wait(0.05)
        far.sendall(b"still here")
        assert client.recv(100) == b"still here"


def test_no_more_comes_through_than_the_rate(tap):
    rate = 200_000
    with relayed(tap, rate=rate) as (client, far):
        began = time.monotonic()
        thread = threading.Thread(target=client.sendall, args=(b"x" * 150_000,))
        thread.start()
        assert len(exactly(far, 100_000)) == 100_000
        assert (time.monotonic() - began) * rate + rate * 0.1 >= 100_000  # the burst, and what is rounded
        assert len(exactly(far, 50_000)) == 50_000
        thread.join(PATIENCE)


def test_a_bucket_gives_its_rate_and_no_more():
    bucket = Bucket(1000, 0.0)
    given, now = 0, 0.0
    while now < 10.0:
        allowed = bucket.allowed(now)
        bucket.spend(allowed)
        given += allowed
        now = max(bucket.ready(), now + 0.001)
    assert 9_900 <= given <= 10_000 + bucket.burst


def test_at_the_limit_of_connections_the_kernel_queues():
    with server() as listener:
        limits = prise.Limits(connections=1, idle_time=None)
        with Relay("127.0.0.1:0", at(listener), limits=limits) as relay:
            first = connect(relay.address)
            second = connect(relay.address)
            far = accept(listener)
            second.sendall(b"second")
            listener.settimeout(0.1)
            with pytest.raises(TimeoutError):
                listener.accept()
            listener.settimeout(PATIENCE)
            first.close()
            far.close()
            with accept(listener) as far:
                assert far.recv(100) == b"second"
            second.close()


@pytest.mark.parametrize(
    ("allow", "deny", "peer", "admitted"),
    [
        ((), ("10.0.0.0/8",), "10.1.2.3:1", False),
        ((), ("10.0.0.0/8",), "11.1.2.3:1", True),
        (("10.0.0.0/8",), ("10.1.0.0/16",), "10.1.2.3:1", False),
        (("10.0.0.0/8",), ("10.1.0.0/16",), "10.2.2.3:1", True),
        (("10.0.0.0/8",), (), "[::1]:1", False),
        (("::1",), (), "[::1]:1", True),
        (("10.0.0.0/8",), (), "[::ffff:10.0.0.1]:1", True),
        (("fe80::/10",), (), "[fe80::1%1]:1", True),
        (("10.0.0.0/8",), (), "unix:", False),
        ((), ("10.0.0.0/8",), "unix:", True),
    ],
)
def test_networks(allow, deny, peer, admitted):
    assert Networks(allow, deny).admit(prise.Address.parse(peer)) is admitted


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "10.0.0.0/33", "example.org", ""])
def test_what_is_no_network(wrong):
    with pytest.raises(prise.UsageError):
        Networks([wrong])


def test_who_is_denied_is_refused_before_anything():
    with server() as listener, Relay("127.0.0.1:0", at(listener), deny=["127.0.0.0/8"]) as relay:
        with pytest.raises(ConnectionResetError), connect(relay.address) as client:  # which may see it already
            client.recv(100)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_one_end_stuck_among_many(tap):
    """One never reads; the others are served, and nothing grows."""
    with server() as listener, Relay("127.0.0.1:0", at(listener), taps=[tap]) as relay:
        if isinstance(tap, Looking) and tap.wants_data:
            tap.data = lambda *_: None  # type: ignore[method-assign]  # it keeps all it hears otherwise
        with connect(relay.address) as stuck, accept(listener) as flooding:
            flooding.setblocking(False)
            taken = 0
            with pytest.raises(BlockingIOError):
                while True:
                    taken += flooding.send(b"x" * MEGABYTE)
                    assert taken < 64 * MEGABYTE
            for _ in range(100):
                with connect(relay.address) as client, accept(listener) as far:
                    client.sendall(b"question")
                    assert far.recv(100) == b"question"
                    far.sendall(b"answer")
                    assert client.recv(100) == b"answer"
            stuck.close()


def test_a_thousand_at_once(tap):
    """Descriptors: two for each while they are quiet, and none are left."""
    import resource

    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2200:
        pytest.skip("too few descriptors")
    count = 250
    before = descriptors()
    with server() as listener, Relay("127.0.0.1:0", at(listener), taps=[tap]) as relay:
        pairs = []
        for number in range(count):
            client = connect(relay.address)
            far = accept(listener)
            client.sendall(b"%d" % number)
            assert far.recv(100) == b"%d" % number
            pairs.append((client, far))
        assert descriptors() - before < count * 4 + 60
        for number, (client, far) in enumerate(pairs):
            far.sendall(b"%d" % number)
            assert client.recv(100) == b"%d" % number
        for client, far in pairs:
            client.close()
            far.close()
    assert relay.stats().open == 0
    assert descriptors() == before


def test_descriptors_do_not_leak_however_it_ends(tap):
    before = descriptors()
    with server() as listener, Relay("127.0.0.1:0", at(listener), taps=[tap]) as relay:
        for turn in range(40):
            client = connect(relay.address)
            far = accept(listener)
            client.sendall(b"x" * 10)
            far.recv(100)
            if turn % 4 == 0:
                break_off(client)
            elif turn % 4 == 1:
                break_off(far)
            elif turn % 4 == 2:
                far.setblocking(False)
                with pytest.raises(BlockingIOError):
                    while True:
                        far.send(b"x" * MEGABYTE)
                break_off(client)  # with a full pipe in between
            client.close()
            far.close()
    assert relay.stats().open == 0
    assert descriptors() == before


# Which two


@pytest.mark.parametrize("way", ["tcp to unix", "unix to tcp", "unix to unix"])
def test_tcp_and_unix(tap, tmp_path, way):
    a = "127.0.0.1:0" if way.startswith("tcp") else f"unix:{tmp_path}/a"
    if way.endswith("unix"):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{tmp_path}/b")
        listener.listen()
        b = f"unix:{tmp_path}/b"
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        b = at(listener)
    with patient(listener), Relay(a, b, taps=[tap]) as relay:
        with connect(relay.address) as client, accept(listener) as far:
            client.sendall(b"x" * 500_000)
            client.shutdown(socket.SHUT_WR)
            assert len(read_all(far)) == 500_000
            far.sendall(b"done")
            far.close()
            assert read_all(client) == b"done"


def test_two_that_listen_join_pairs(tap):
    with Relay("listen:127.0.0.1:0", "listen:127.0.0.1:0", taps=[tap]) as relay:
        first, second = relay.addresses
        with connect(first) as one, connect(second) as two:
            one.sendall(b"hello")
            assert two.recv(100) == b"hello"
            with connect(second) as four, connect(first) as three:
                four.sendall(b"first here, first said")
                assert three.recv(100) == b"first here, first said"
            two.sendall(b"still here")
            assert one.recv(100) == b"still here"


def test_who_gave_up_waiting_for_a_partner_gets_none(tap):
    with Relay("listen:127.0.0.1:0", "listen:127.0.0.1:0", taps=[tap]) as relay:
        first, second = relay.addresses
        gone = connect(first)
        break_off(gone)
        with connect(first) as one, connect(second) as two:
            one.sendall(b"hello")
            assert two.recv(100) == b"hello"


def test_two_that_are_connected_to_are_joined_once(tap):
    with server() as left, server() as right:
        relay = Relay(f"connect:{at(left)}", f"connect:{at(right)}", taps=[tap]).start()
        with accept(left) as one, accept(right) as two:
            one.sendall(b"hello")
            one.shutdown(socket.SHUT_WR)
            assert read_all(two) == b"hello"
        assert relay.wait().total == 1


def test_a_first_address_that_is_not_there():
    tap = Ends()
    with socket.socket() as free, server() as right:
        free.bind(("127.0.0.1", 0))
        Relay(f"connect:{at(free)}", at(right), taps=[tap]).start().wait()
    assert isinstance(tap.passages[0].error, prise.ConnectError)


def test_once_is_over_after_one(tap):
    with server() as listener:
        relay = Relay("127.0.0.1:0", at(listener), taps=[tap], once=True).start()
        with connect(relay.address) as client, accept(listener) as far:
            with pytest.raises(ConnectionRefusedError):
                connect(relay.address)
            client.close()
            far.close()
        assert relay.wait().total == 1


@pytest.mark.parametrize(
    ("a", "b", "options"),
    [
        ("connect::1", "listen::2", {}),
        (":1", ":2", {"rate": 0}),
        (":1", ":2", {"proxy_protocol": 3}),
        (":1", "listen::2", {"proxy_protocol": 1}),
        (":1", ":2", {"allow": ["nowhere"]}),
        (":1", "nonsense::", {}),
    ],
)
def test_what_cannot_work_is_refused_at_once(a, b, options):
    with pytest.raises(prise.UsageError):
        Relay(a, b, **options)


def test_an_address_that_is_taken_is_an_error_of_starting():
    with server() as listener, pytest.raises(prise.BindError):
        Relay(at(listener), ":1").start()


def test_the_server_is_looked_up_when_it_is_needed(tap):
    """A name goes through the resolver, in a thread; many at once share one look-up."""
    with server() as listener:
        with Relay("127.0.0.1:0", f"localhost:{listener.getsockname()[1]}", taps=[tap]) as relay:
            clients = [connect(relay.address) for _ in range(10)]
            for client in clients:
                client.sendall(b"!")
            for _ in clients:
                with accept(listener) as far:
                    assert far.recv(1) == b"!"
            for client in clients:
                client.close()


# Layers, and other programs


@pytest.mark.parametrize("version", [1, 2])
def test_a_proxy_header_names_the_client(tap, version):
    with relayed(tap, proxy_protocol=version) as (client, far):
        client.sendall(b"hello")
        if version == 1:
            host, port = client.getsockname()
            head = b"PROXY TCP4 %s 127.0.0.1 %d " % (host.encode(), port)
            assert exactly(far, len(head)) == head
            client.shutdown(socket.SHUT_WR)
            assert read_all(far).endswith(b"\r\nhello")
        else:
            assert exactly(far, 12) == b"\r\n\r\n\0\r\nQUIT\n"
            client.shutdown(socket.SHUT_WR)
            assert read_all(far).endswith(b"hello")


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.mark.parametrize("name", ["nc", "ncat", "socat"])
def test_programs_through_a_relay(tap, name):
    """Each sends its input through, ends it, and prints what comes back."""
    with server() as listener:

        def answer() -> None:
            with accept(listener) as far:
                far.sendall(read_all(far)[::-1])

        thread = threading.Thread(target=answer)
        thread.start()
        with Relay("127.0.0.1:0", at(listener), taps=[tap]) as relay:
            port = str(relay.address.port)
            argv = {
                "nc": ["nc", "-N", "127.0.0.1", port],
                "ncat": ["ncat", "127.0.0.1", port],
                "socat": ["socat", "-t", "10", "-", f"TCP:127.0.0.1:{port}"],
            }[name]
            argv[0] = program(name)
            done = subprocess.run(argv, input=b"abc" * 50_000, capture_output=True, timeout=PATIENCE, check=False)
        thread.join(PATIENCE)
    assert done.stdout == b"cba" * 50_000


def test_curl_through_a_relay_to_socat(tap, tmp_path: Path):
    """A chain: curl, prise, socat, a small web server."""
    page = b"x" * 300_000

    def serve(listener: socket.socket) -> None:
        with accept(listener) as far:
            request = b""
            while b"\r\n\r\n" not in request:
                request += far.recv(65536)
            far.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(page) + page)

    with server() as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        path = tmp_path / "socat"
        argv = [program("socat"), f"UNIX-LISTEN:{path}", f"TCP:{at(listener)}"]
        with subprocess.Popen(argv) as socat:
            wait_for(path.exists)
            with Relay("127.0.0.1:0", f"unix:{path}", taps=[tap]) as relay:
                done = subprocess.run(
                    [program("curl"), "-s", f"http://127.0.0.1:{relay.address.port}/"],
                    capture_output=True,
                    timeout=PATIENCE,
                    check=False,
                )
            socat.wait(PATIENCE)
        thread.join(PATIENCE)
    assert done.stdout == page


def wait_for(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


@pytest.mark.parametrize(
    ("kind", "options"), [("plain", {}), ("looked on", {}), ("slow", {"rate": 1 << 30}), ("tls", {})]
)
def test_the_kernel_moves_the_bytes_of_plain_sockets_and_of_no_others(monkeypatch, kind, options):
    """Counted where the system is asked to."""
    if not splicing.available():
        pytest.skip("no splice(2) here")
    count = 4 * MEGABYTE
    moved = []
    splice = os.splice

    def counting(*arguments, **more):
        size = splice(*arguments, **more)
        moved.append(size)
        return size

    monkeypatch.setattr(os, "splice", counting)
    tap = Looking() if kind == "looked on" else Ends()
    own = issue("relay-splice") if kind == "tls" else None
    a = "127.0.0.1:0" if own is None else f"tls,cert={own.cert},key={own.key}:127.0.0.1:0"
    with server() as listener, Relay(a, at(listener), taps=[tap], **options) as relay:
        with connect(relay.address) as plain:
            if own is None:
                client = plain
            else:
                client = ssl.create_default_context(cafile=own.cert).wrap_socket(plain, server_hostname="localhost")
            with client, accept(listener) as far:
                writing = threading.Thread(target=client.sendall, args=(b"x" * count,))
                writing.start()
                assert len(exactly(far, count)) == count
                writing.join(PATIENCE)
                far.close()
    assert sum(moved) == (2 * count if kind == "plain" else 0)  # into the pipe, and out of it


def test_pipes_are_large_only_for_some():
    pipes = splicing.Pipes()
    taken = [pipes.take() for _ in range(splicing.LARGE_PIPES + 3)]
    assert sum(pipe.size > 65_536 for pipe in taken) <= splicing.LARGE_PIPES
    before = descriptors()
    for pipe in taken:
        pipes.give(pipe)
    assert descriptors() == before - 2 * (len(taken) - splicing.KEPT_PIPES)
    pipes.close()
    assert descriptors() == before - 2 * len(taken)


# Datagrams


def test_udp_to_tcp_and_back():
    """Each datagram of the stream's answer is what was read; each of the client goes into the stream."""
    tap = Ends()
    with server() as listener, Relay("udp://127.0.0.1:0", at(listener), taps=[tap]) as relay:
        with patient(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
            client.connect(("127.0.0.1", relay.address.port))
            client.send(b"question" * 20)
            with accept(listener) as far:
                assert exactly(far, 160) == b"question" * 20
                far.sendall(b"answer")
                assert client.recv(100) == b"answer"


def test_udp_to_udp_keeps_the_boundaries():
    with patient(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as far:
        far.bind(("127.0.0.1", 0))
        with Relay("udp://127.0.0.1:0", f"udp://127.0.0.1:{far.getsockname()[1]}") as relay:
            with patient(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
                client.connect(("127.0.0.1", relay.address.port))
                for message in (b"one", b"two", b"three" * 100):
                    client.send(message)
                received = [far.recvfrom(65536) for _ in range(3)]
                assert [data for data, _ in received] == [b"one", b"two", b"three" * 100]
                far.sendto(b"answer", received[0][1])
                assert client.recv(100) == b"answer"
            relay.stop()


def test_a_stream_to_udp_is_cut_where_a_datagram_ends():
    with patient(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as far:
        far.bind(("127.0.0.1", 0))
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MEGABYTE)
        with Relay("127.0.0.1:0", f"udp://127.0.0.1:{far.getsockname()[1]}") as relay:
            with connect(relay.address) as client:
                client.sendall(b"x" * 100_000)
                received = 0
                while received < 100_000:
                    received += len(far.recv(65536))
                assert received == 100_000
            relay.stop()
