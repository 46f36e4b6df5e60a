"""`prise relay` between other people's programs: curl, nginx, nc, ncat, socat, openssl, HAProxy."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import prise
from cli_process import PATIENCE, Running, run
from peers import Peer, free_port, need
from tls_support import issue

pytest.importorskip("click")

TEXT = b"some text, again and again\n" * 10_000


def late(connection: prise.Connection) -> None:
    """Hears everything, up to the end, and only then says it all again, turned around."""
    heard = b"".join(connection)
    connection.send(heard[::-1])


@contextmanager
def late_server(address: str = "127.0.0.1:0") -> Iterator[str]:
    with prise.listen(late, address, framing="chunks") as server:
        yield str(server.address)


def call(*argv: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    need(argv[0])
    return subprocess.run(argv, input=given, capture_output=True, timeout=PATIENCE, check=False)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(PATIENCE)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "page").write_bytes(TEXT)
    return tmp_path / "web" / "page"


# curl


@pytest.mark.parametrize("options", [[], ["--dump"]], ids=["kernel", "process"])
def test_curl_to_a_web_server(page, options):
    with web_server(page.parent) as b, Running("relay", "127.0.0.1:0", b, *options) as relay:
        done = call("curl", "-sS", "--noproxy", "*", f"http://127.0.0.1:{relay.port()}/page")
    assert (done.stdout, done.stderr) == (TEXT, b"")


def test_curl_many_at_once(page):
    with web_server(page.parent) as b, Running("relay", "127.0.0.1:0", b) as relay:
        url = f"http://127.0.0.1:{relay.port()}/page?[1-40]"
        done = call("curl", "-sS", "--noproxy", "*", "--parallel", "--parallel-immediate", url)
    assert len(done.stdout) == 40 * len(TEXT)


def test_curl_speaks_tls_with_the_relay_and_the_server_knows_none(page):
    own = issue("relay-curl")
    files = ("--cert", str(own.cert), "--key", str(own.key))
    with web_server(page.parent) as b, Running("relay", "tls:127.0.0.1:0", b, *files) as relay:
        url = f"https://localhost:{relay.port()}/page"
        done = call("curl", "-sS", "--noproxy", "*", "--cacert", str(own.cert), url)
        other = call("curl", "-sS", "--noproxy", "*", url)
    assert (done.stdout, done.stderr) == (TEXT, b"")
    assert other.returncode == 60  # curl(1): it does not trust the certificate


def test_curl_speaks_tls_with_the_server_straight_through(page):
    """TCP on both sides: the relay sees nothing but bytes."""
    own = issue("relay-through")
    files = ("--cert", str(own.cert), "--key", str(own.key))
    with web_server(page.parent) as b, Running("relay", "tls:127.0.0.1:0", b, *files) as inner:
        with Running("relay", "127.0.0.1:0", f"127.0.0.1:{inner.port()}") as outer:
            url = f"https://localhost:{outer.port()}/page"
            done = call("curl", "-sS", "--noproxy", "*", "--cacert", str(own.cert), url)
    assert (done.stdout, done.stderr) == (TEXT, b"")


def test_curl_to_a_unix_socket_in_front_of_a_web_server(page, tmp_path):
    with web_server(page.parent) as b, Running("relay", f"unix:{tmp_path}/socket", b) as relay:
        relay.err.expect("relaying")
        done = call("curl", "-sS", "--unix-socket", f"{tmp_path}/socket", "http://localhost/page")
    assert (done.stdout, done.stderr) == (TEXT, b"")


def test_what_curl_asked_is_recorded_and_played_to_curl_again(page, tmp_path):
    record = tmp_path / "talk"
    argv = ["curl", "-sS", "--noproxy", "*", "-H", "Host: example.org"]  # the same in both: the port is not
    with web_server(page.parent) as b:
        with Running("relay", "--once", "127.0.0.1:0", b, "--record", str(record)) as relay:
            assert call(*argv, f"http://127.0.0.1:{relay.port()}/page").stdout == TEXT
            assert relay.wait() == 0
        # To the server: it answers the same, but for the date.
        done = run("replay", str(record), b, "--as", "client", "--speed", "full")
    assert done.returncode == 0 or "differs at byte" in done.stderr
    options = ("--as", "server", "--speed", "full", "--timeout", "5s")
    with Running("replay", str(record), "127.0.0.1:0", *options) as player:
        assert call(*argv, f"http://127.0.0.1:{player.port()}/page").stdout == TEXT
        assert player.wait() == 0
    with Running("replay", str(record), "127.0.0.1:0", *options) as player:
        call(*argv, f"http://127.0.0.1:{player.port()}/other")
        assert player.wait() == 1
        player.err.expect("line 3: connection 1 differs at byte 5: expected 'page")
    assert run("replay", str(record), ":1", "--as", "client").returncode == prise.ConnectError.exit_code


# The end of the input, and the late reply


CLIENTS: dict[str, Callable[[str], list[str]]] = {
    "nc": lambda port: ["nc", "-N", "127.0.0.1", port],
    "ncat": lambda port: ["ncat", "127.0.0.1", port],
    "socat": lambda port: ["socat", "-t", "20", "-", f"TCP:127.0.0.1:{port}"],
}


@pytest.mark.parametrize("options", [[], ["--rate", "1G"]], ids=["kernel", "process"])
@pytest.mark.parametrize("client", ["nc", "ncat", "socat"])
def test_the_late_reply_comes_back_to(client, options):
    with late_server() as b, Running("relay", "127.0.0.1:0", b, *options) as relay:
        done = call(*CLIENTS[client](str(relay.port())), given=TEXT)
    assert done.stdout == TEXT[::-1]


def test_the_end_inside_tls_is_passed_on_and_the_reply_still_comes():
    own = issue("relay-late")
    files = ("--cert", str(own.cert), "--key", str(own.key))
    with late_server() as b, Running("relay", "tls:127.0.0.1:0", b, *files) as relay:
        done = call("socat", "-t", "20", "-", f"OPENSSL:localhost:{relay.port()},cafile={own.cert}", given=b"hello")
    assert done.stdout == b"olleh"


def test_an_end_outside_of_tls_is_passed_on_as_breaking_off():
    """ncat ends its side without TLS's own end: anybody in between could have, so nobody must take it for the end."""
    own = issue("relay-cut")
    files = ("--cert", str(own.cert), "--key", str(own.key), "-v")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        b = f"127.0.0.1:{listener.getsockname()[1]}"
        with Running("relay", "tls:127.0.0.1:0", b, *files) as relay:
            call("ncat", "--ssl", "127.0.0.1", str(relay.port()), given=b"hello")
            with listener.accept()[0] as far:
                far.settimeout(PATIENCE)
                with pytest.raises(ConnectionResetError):
                    while far.recv(100):
                        pass
            relay.err.expect("without TLS's own end")


@pytest.mark.parametrize("kind", ["nc", "socat"])
def test_programs_that_serve(kind, tmp_path):
    """The relay connects to them; they read to the end, and then speak."""
    port = free_port()
    argv = {
        "nc": ["nc", "-l", "-N", "127.0.0.1", str(port)],
        "socat": ["socat", "-t", "20", f"TCP-LISTEN:{port},bind=127.0.0.1", "SYSTEM:cat >/dev/null; echo late"],
    }[kind]
    given = b"late\n" if kind == "nc" else None
    with Peer(*argv, port=port, given=given) as peer, Running("relay", "--once", "127.0.0.1:0", f":{port}") as relay:
        if given:
            assert peer.process.stdin is not None
            peer.process.stdin.close()
            peer.process.stdin = None
        with socket.create_connection(("127.0.0.1", relay.port()), PATIENCE) as sock:
            sock.sendall(b"hello")
            sock.shutdown(socket.SHUT_WR)
            assert b"".join(iter(lambda: sock.recv(100), b"")) == b"late\n"
        assert relay.wait() == 0


def test_a_chain_of_relays_of_three_makers(tmp_path):
    """nc, prise, socat, prise, ncat's place: each passes the end on."""
    path = tmp_path / "socat"
    with late_server() as b, Running("relay", "127.0.0.1:0", b) as last:
        port = free_port()
        target = f"TCP:127.0.0.1:{last.port()}"
        with Peer("socat", "-t", "20", f"TCP-LISTEN:{port},bind=127.0.0.1", target, port=port):
            with Running("relay", f"unix:{path}", f"127.0.0.1:{port}") as first:
                first.err.expect("relaying")
                done = call("nc", "-N", "-U", str(path), given=TEXT)
    assert done.stdout == TEXT[::-1]


# TLS servers


def test_openssl_s_server_behind_a_relay():
    """Who speaks no TLS reaches a server that speaks nothing else."""
    own = issue("relay-s-server", ("localhost", "127.0.0.1"))
    port = free_port()
    argv = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(own.cert), "-key", str(own.key), "-rev"]
    with Peer(*argv, "-quiet", port=port):
        with Running("relay", "127.0.0.1:0", f"tls:127.0.0.1:{port}", "--ca", str(own.cert)) as relay:
            with socket.create_connection(("127.0.0.1", relay.port()), PATIENCE) as sock:
                sock.sendall(b"hello\n")
                assert sock.makefile("rb").readline() == b"olleh\n"


def test_openssl_s_client_to_a_relay():
    own = issue("relay-s-client")
    files = ("--cert", str(own.cert), "--key", str(own.key))
    with late_server() as b, Running("relay", "tls:127.0.0.1:0", b, *files) as relay:
        argv = ["openssl", "s_client", "-quiet", "-no_ign_eof", "-verify_quiet", "-verify_return_error"]
        port = relay.port()
        wrong = call(*argv, "-connect", f"127.0.0.1:{port}", given=b"hello\n")
        assert wrong.returncode != 0
        need("socat")
        done = call(*argv, "-brief", "-CAfile", str(own.cert), "-connect", f"127.0.0.1:{port}", given=b"")
    assert done.returncode == 0
    assert b"TLSv1.3" in done.stderr


# PROXY headers


@contextmanager
def haproxy(folder: Path, bind: str, server: str) -> Iterator[int]:
    need("haproxy")
    port = free_port()
    settings = folder / "haproxy.cfg"
    settings.write_text(
        "global\n  maxconn 100\n"
        "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 20s\n  timeout server 20s\n"
        f"listen one\n  bind 127.0.0.1:{port} {bind}\n  server far {server}\n"
    )
    with Peer("/usr/sbin/haproxy", "-db", "-f", str(settings), port=port):
        yield port


def who(connection: prise.Connection) -> None:
    connection.send(str(connection.peer))


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_believes_the_relay(tmp_path, version):
    """Through the relay and HAProxy, the last one knows the first."""
    with prise.listen(who, "tcp,proxy-from=127.0.0.1:127.0.0.1:0") as server:
        with haproxy(tmp_path, "accept-proxy", f"127.0.0.1:{server.address.port} send-proxy-v2") as port:
            with Running("relay", "127.0.0.1:0", f"127.0.0.1:{port}", "--proxy-protocol", version) as relay:
                with socket.create_connection(("127.0.0.1", relay.port()), PATIENCE) as sock:
                    ours = sock.getsockname()[1]
                    assert sock.makefile("rb").readline() == b"127.0.0.1:%d\n" % ours


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
def test_the_relay_believes_haproxy(tmp_path, option):
    arguments = ("tcp,proxy-from=127.0.0.1:127.0.0.1:0", "exec:cat", "--dump")
    with Running("relay", *arguments) as relay:
        with haproxy(tmp_path, "", f"127.0.0.1:{relay.port()} {option}") as port:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
                ours = sock.getsockname()[1]
                sock.sendall(b"hello\n")
                assert sock.makefile("rb").readline() == b"hello\n"
            relay.out.expect(rf"#1 == 127\.0\.0\.1:{ours} to ")


# Datagrams


def test_socat_asks_over_udp_and_a_stream_answers():
    with late_server() as unused, prise.listen(lambda c: [c.send(line) for line in c], "127.0.0.1:0") as server:
        del unused
        with Running("relay", "udp:127.0.0.1:0", str(server.address)) as relay:
            argv = ["socat", "-t", "0.5", "-", f"UDP:127.0.0.1:{relay.port()}"]
            assert call(*argv, given=b"hello\n").stdout == b"hello\n"


def test_nc_over_tcp_to_a_udp_server_of_socat():
    port = free_port(socket.SOCK_DGRAM)
    argv = ["socat", f"UDP-RECVFROM:{port},bind=127.0.0.1,fork", "EXEC:cat"]
    with Peer(*argv, port=port, kind=socket.SOCK_DGRAM):
        with Running("relay", "127.0.0.1:0", f"udp:127.0.0.1:{port}") as relay:
            with socket.create_connection(("127.0.0.1", relay.port()), PATIENCE) as sock:
                sock.sendall(b"hello\n")
                assert sock.makefile("rb").readline() == b"hello\n"


# Proxies


PROXIES = {
    "socks5": lambda port: ("microsocks", "-i", "127.0.0.1", "-p", port),
    "http": lambda port: ("ncat", "-l", "-k", "127.0.0.1", port, "--proxy-type", "http"),
}


@pytest.mark.parametrize("scheme", PROXIES)
def test_the_server_is_reached_through_a_proxy(page, scheme):
    port = free_port()
    with web_server(page.parent) as b, Peer(*PROXIES[scheme](str(port)), port=port):
        with Running("relay", "127.0.0.1:0", b, "--via", f"{scheme}://127.0.0.1:{port}") as relay:
            done = call("curl", "-sS", "--noproxy", "*", f"http://127.0.0.1:{relay.port()}/page")
    assert (done.stdout, done.stderr) == (TEXT, b"")


@pytest.mark.parametrize("scheme", PROXIES)
def test_curl_reaches_a_proxy_through_the_relay(page, scheme):
    """Here the relay is what stands between curl and its proxy, and passes their talk."""
    port = free_port()
    with web_server(page.parent) as b, Peer(*PROXIES[scheme](str(port)), port=port):
        with Running("relay", "127.0.0.1:0", f"127.0.0.1:{port}") as relay:
            proxy = f"{scheme}://127.0.0.1:{relay.port()}"
            done = call("curl", "-sS", "--noproxy", "", "--proxytunnel", "--proxy", proxy, f"http://{b}/page")
    assert (done.stdout, done.stderr) == (TEXT, b"")


def test_a_proxy_that_is_not_there_is_said():
    with late_server() as b:
        proxy = f"socks5://127.0.0.1:{free_port()}"
        with Running("relay", "127.0.0.1:0", b, "--via", proxy) as relay:
            assert call(*CLIENTS["nc"](str(relay.port())), given=TEXT).stdout == b""
            relay.err.expect("#1 .*refused")


@pytest.mark.parametrize("scheme", ["unix", "udp"])
def test_a_proxy_of_the_environment_is_for_what_can_go_through_one(tmp_path, scheme):
    """Nothing listens there, so what went through it would fail."""
    proxy = {"ALL_PROXY": f"socks5://127.0.0.1:{free_port()}", "NO_PROXY": "", "no_proxy": ""}
    b = {"unix": f"unix:{tmp_path}/b", "udp": "udp:127.0.0.1:0"}[scheme]
    with prise.listen(lambda c: [c.send(line) for line in c], b) as server:
        with Running("relay", "127.0.0.1:0", str(server.address), **proxy) as relay:  # type: ignore[arg-type]
            with socket.create_connection(("127.0.0.1", relay.port()), PATIENCE) as sock:
                sock.sendall(b"hello\n")
                assert sock.recv(100).rstrip() == b"hello"
