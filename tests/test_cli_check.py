"""`prise check`: what it says of servers that are well, that are not, and that are not there."""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli_process import PATIENCE, argv, environment, run, run_here, without

pytest.importorskip("click")

import prise
from prise.checks import targets


def look(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code and the objects of --json."""
    done = run("check", "--json", *arguments)
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def server(serve: Callable[[socket.socket], object]) -> Iterator[str]:
    """The address of a server that does this with every connection, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(PATIENCE)
                    try:
                        serve(connection)
                    except OSError:
                        pass

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


@pytest.fixture
def closed() -> Iterator[int]:
    """A port on which nothing listens, and nothing else will while the test runs."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


# There, or not


def test_a_greeting_and_the_time():
    with server(lambda sock: sock.sendall(b"220 mail.example ESMTP\r\n")) as address:
        done = run("check", address)
    assert done.returncode == 0
    head, greeting = done.stdout.splitlines()
    assert head.startswith(f"{address}  answers in ")
    assert greeting == "  greeting  220 mail.example ESMTP"
    assert "\x1b" not in done.stdout


def test_a_greeting_cannot_command_the_terminal():
    with server(lambda sock: sock.sendall(b"\x1b[2J\x1b]0;evil\x07\n")) as address:
        done = run("check", address)
    assert "^[[2J^[]0;evil^G" in done.stdout


def test_every_address_of_a_name_is_shown():
    with prise.listen(lambda connection: None, ":0") as serving:
        port = serving.address.port
        code, (result,) = look(f":{port}")
    assert code == 0
    assert [attempt["address"] for attempt in result["addresses"]] == [str(where) for where in serving.addresses]


def test_nothing_listens(closed):
    done = run("check", f"127.0.0.1:{closed}")
    assert done.returncode == 4
    assert f"refused: nothing listens on port {closed}" in done.stdout


def test_no_such_name():
    code, (result,) = look(f"{'a' * 64}.invalid:80")
    assert (code, result["ok"], result["addresses"]) == (3, False, [])
    assert "no host is called" in result["problem"]


@contextmanager
def silent() -> Iterator[str]:
    """An address that does not answer: the queue of its server is full, so the kernel drops who comes."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _attempt in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_no_answer():
    with silent() as address:
        code, (result,) = look("--timeout", "300ms", address)
    assert code == 5
    assert result["problem"].startswith("no answer within 0.3 s: a firewall")


def test_waiting_for_a_server(closed):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        appears = threading.Timer(0.6, lambda: sock.listen())
        appears.start()
        done = run("check", "--wait", "20s", f"127.0.0.1:{sock.getsockname()[1]}")
        appears.join()
    assert done.returncode == 0
    began = time.monotonic()
    assert run("check", "--wait", "500ms", f"127.0.0.1:{closed}").returncode == 4
    assert time.monotonic() - began < 10


def test_a_range_of_ports(closed):
    with server(lambda sock: None) as address:
        port = int(address.rpartition(":")[2])
        first, last = max(port - 20, 1), min(port + 20, 65535)
        _code, results = look(f"127.0.0.1:{first}-{last}")
    assert [result["address"] for result in results] == [f"127.0.0.1:{each}" for each in range(first, last + 1)]
    assert results[port - first]["ok"]


def test_the_time_for_all_of_it_is_bounded():
    with silent() as address:
        port = int(address.rpartition(":")[2])
        began = time.monotonic()
        done = run("check", "--total", "400ms", *[f"127.0.0.1:{port}"] * 40)
    assert done.returncode == 5
    assert time.monotonic() - began < 10
    assert "not looked at" in done.stdout


def test_the_exit_code_is_that_of_the_first_problem(closed):
    with server(lambda sock: None) as address:
        code, results = look(address, f"127.0.0.1:{closed}", f"{'a' * 64}.invalid:80")
    assert (code, [result["code"] for result in results]) == (4, [0, 4, 3])


@pytest.mark.parametrize("wrong", [":8010-8000", ":0-5", ":1-70000", "localhost", "http://host/a b", "mem:x"])
def test_what_cannot_be_checked(wrong):
    done = run_here("check", wrong)
    assert done.returncode == 2
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("text", "tls", "http", "websocket", "udp", "port", "path"),
    [
        ("https://host", True, True, False, False, 443, "/"),
        ("http://[::1]/x:1", False, True, False, False, 80, "/x:1"),
        ("wss:host:8443/chat?a=b", True, False, True, False, 8443, "/chat?a=b"),
        ("host:443", True, True, False, False, 443, "/"),
        ("host:8080", False, True, False, False, 8080, "/"),
        ("host:993", True, False, False, False, 993, "/"),
        ("tcp:host:993", False, False, False, False, 993, "/"),
        ("udp:host:53", False, False, False, True, 53, "/"),
    ],
)
def test_what_an_address_means(text, tls, http, websocket, udp, port, path):
    (target,) = targets(text)
    assert (target.tls, target.http, target.websocket, target.udp) == (tls, http, websocket, udp)
    assert (target.address.port, target.path) == (port, path)


# Unix sockets and UDP


def test_a_unix_socket(tmp_path):
    with prise.listen(lambda connection: None, f"unix,mode=600:{tmp_path}/s"):
        code, (result,) = look(f"{tmp_path}/s")
    assert code == 0
    assert result["unix"]["mode"] == "srw-------"
    assert (result["unix"]["pid"], result["unix"]["uid"]) == (os.getpid(), os.getuid())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "there is no such socket"),
        (lambda path: path.touch(), "but it is not a socket"),
        (lambda path: bound(path, socket.SOCK_STREAM), "nothing listens on it"),
        (lambda path: bound(path, socket.SOCK_DGRAM), "another kind"),
    ],
)
def test_a_unix_socket_that_is_none(tmp_path, make, says):
    keep = make(tmp_path / "s")
    code, (result,) = look(f"{tmp_path}/s")
    assert code == 4
    assert says in result["problem"]
    if keep is not None:
        keep.close()


def bound(path: Path, kind: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.bind(str(path))
    return sock


def test_udp_says_what_can_be_known(closed):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE)
        address = f"udp:127.0.0.1:{sock.getsockname()[1]}"
        done = run("check", address)
        assert (done.returncode, "open or filtered" in done.stdout) == (0, True)
        sock.recvfrom(100)

        def answer() -> None:
            _data, caller = sock.recvfrom(100)
            sock.sendto(b"yes", caller)

        thread = threading.Thread(target=answer)
        thread.start()
        assert look(address)[1][0]["udp"] == "open"
        thread.join(PATIENCE)
    code, (result,) = look(address)
    assert code == 4
    assert "refused" in result["problem"]


# HTTP and WebSocket


def answering(head: bytes) -> Callable[[socket.socket], None]:
    def serve(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(head)

    return serve


def test_http():
    with server(answering(b"HTTP/1.1 301 Moved\r\nServer: tiny\r\nLocation: /there\r\n\r\n")) as address:
        done = run("check", f"http://{address}/")
    assert done.returncode == 0
    assert "  HTTP     301 Moved, tiny, /there\n" in done.stdout


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (b"220 ftp ready\r\n", 1, "this is not HTTP; the answer begins with '220 ftp ready'"),
        (b"\x15\x03\x01\x00\x02\x02\x46", 1, "TLS is spoken here"),
        (b"", 8, "does it want TLS"),
    ],
)
def test_what_is_not_http(answer, code, says):
    with server(answering(answer)) as address:
        got, (result,) = look("--http", address)
    assert got == code
    assert says in result["problem"]


def websocket(suffix: str) -> Callable[[socket.socket], None]:
    def serve(sock: socket.socket) -> None:
        request = sock.recv(65536).decode()
        key = request.partition("Sec-WebSocket-Key: ")[2].partition("\r\n")[0]
        accept = base64.b64encode(hashlib.sha1((key + suffix).encode()).digest())
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    return serve


def test_a_websocket():
    with server(websocket("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) as address:
        code, (result,) = look(f"ws://{address}/chat")
    assert (code, result["websocket"]["status"]) == (0, 101)
    with server(websocket("something else")) as address:
        code, (result,) = look(f"ws://{address}/chat")
    assert code == 1
    assert "does not fit the question" in result["problem"]


# TLS


class Authority:
    """Makes certificates, for servers that have what users meet."""

    def __init__(self, folder: Path) -> None:
        pytest.importorskip("cryptography")
        self.folder = folder
        self.key, self.certificate = self._sign("test authority", None, [], 30, True)
        self.ca = self._write("ca.pem", self.certificate)

    def make(self, *names: str, days: int = 30, self_signed: bool = False) -> tuple[str, str]:
        """The files of a certificate and of its key."""
        from cryptography.hazmat.primitives import serialization

        key, certificate = self._sign(names[0], None if self_signed else self, list(names), days, False)
        path = self.folder / "key.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return self._write("certificate.pem", certificate), str(path)

    def _write(self, name: str, certificate: Any) -> str:
        from cryptography.hazmat.primitives import serialization

        (self.folder / name).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return str(self.folder / name)

    def _sign(self, name: str, issuer: Authority | None, names: list[str], days: int, ca: bool) -> tuple[Any, Any]:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        from tls_support import identified

        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=60))
            .not_valid_after(now + datetime.timedelta(days=days, hours=1))
            .add_extension(x509.BasicConstraints(ca, None), True)
        )
        builder = identified(builder, key, issuer.key if issuer else None, ca)
        if names:
            alternatives = [
                x509.IPAddress(ipaddress.ip_address(each)) if each[0].isdigit() else x509.DNSName(each)
                for each in names
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
        return key, builder.sign(issuer.key if issuer else key, hashes.SHA256())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextmanager
def s_server(certificate: tuple[str, str], *options: str) -> Iterator[int]:
    """openssl s_server with this certificate; its port."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    cert, key = certificate
    with subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", cert, "-key", key, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != b"ACCEPT":
            assert process.poll() is None
        try:
            yield port
        finally:
            process.kill()


def test_tls_that_is_well(authority):
    with s_server(authority.make("localhost", "127.0.0.1"), "-alpn", "h2", "-CAfile", authority.ca) as port:
        code, (result,) = look("--ca", authority.ca, f"tls:localhost:{port}")
        done = run("check", "--ca", authority.ca, f"tls:localhost:{port}")
    assert (code, result["problem"], result["notes"]) == (0, None, [])
    tls = result["tls"]
    assert (tls["version"], tls["alpn"], tls["verified"]) == ("TLSv1.3", "h2", True)
    own = tls["chain"][0]
    assert (own["subject"], own["issuer"], own["days"]) == ("CN=localhost", "CN=test authority", 30)
    assert own["names"] == ["localhost", "127.0.0.1"]
    assert "  certificate  CN=localhost, expires in 30 days\n" in done.stdout
    assert "  names        localhost, 127.0.0.1\n" in done.stdout


@pytest.mark.parametrize(
    ("names", "options", "says"),
    [
        (("localhost",), {"days": -3}, "has expired"),
        (("other.example",), {}, "is not for localhost"),
        (("localhost",), {"self_signed": True}, "self-signed"),
    ],
)
def test_tls_that_is_not_trusted(authority, names, options, says):
    with s_server(authority.make(*names, **options)) as port:
        code, (result,) = look("--ca", authority.ca, "--tls", f"localhost:{port}")
    assert code == 6
    assert says in result["problem"]
    assert result["tls"]["verified"] is False
    assert result["tls"]["chain"][0]["subject"] == f"CN={names[0]}"  # it is described all the same


def test_tls_from_an_unknown_authority(authority):
    with s_server(authority.make("localhost")) as port:
        code, (result,) = look(f"tls:localhost:{port}")
    assert code == 6
    assert "nobody that this machine trusts" in result["problem"]


def test_tls_that_ends_soon(authority):
    with s_server(authority.make("localhost", days=5)) as port:
        code, (result,) = look("--ca", authority.ca, f"tls:localhost:{port}")
    assert (code, result["notes"]) == (0, ["the certificate expires in 5 days; renew it"])


def test_tls_that_is_too_old(authority):
    with s_server(authority.make("localhost"), "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0") as port:
        code, (result,) = look("--ca", authority.ca, f"tls:localhost:{port}")
    assert code == 6
    assert "before 1.2" in result["problem"]


def test_tls_that_wants_a_client_certificate(authority):
    options = ("-Verify", "1", "-verify_return_error", "-CAfile", authority.ca)
    with s_server(authority.make("localhost"), *options) as port:
        code, (result,) = look("--ca", authority.ca, f"tls:localhost:{port}")
    assert (code, result["problem"]) == (6, "the server wants a client certificate")


def test_tls_where_there_is_none():
    with server(lambda sock: sock.sendall(b"220 mail.example ESMTP\r\n")) as address:
        code, (result,) = look("--tls", address)
    assert code == 6
    assert "the server says '220 mail.example ESMTP' in plain" in result["problem"]


def test_without_cryptography_the_fingerprint_is_shown(authority, tmp_path):
    certificate = authority.make("localhost")
    with s_server(certificate) as port:
        done = subprocess.run(
            argv("check", "--ca", authority.ca, f"tls:localhost:{port}"),
            env=environment(PYTHONPATH=without("cryptography", tmp_path / "hidden")),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 0
    assert "pip install 'prise[tls]'" in done.stdout


def test_nginx(authority, tmp_path):
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed")
    certificate, key = authority.make("localhost")
    ports = []
    for _each in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    plain, secure = ports
    (tmp_path / "nginx.conf").write_text(f"""
        daemon off; master_process off; pid {tmp_path}/pid; error_log stderr;
        events {{}}
        http {{
            access_log off; client_body_temp_path {tmp_path}; proxy_temp_path {tmp_path}; fastcgi_temp_path {tmp_path};
            uwsgi_temp_path {tmp_path}; scgi_temp_path {tmp_path};
            server {{
                listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl; listen unix:{tmp_path}/web;
                ssl_certificate {certificate}; ssl_certificate_key {key};
                location / {{ return 204; }}
            }}
        }}""")
    with subprocess.Popen(
        [nginx, "-e", "stderr", "-c", f"{tmp_path}/nginx.conf"], stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert run("check", "--wait", "20s", f"tcp:127.0.0.1:{secure}").returncode == 0
            wanted = (f"http://localhost:{plain}", f"https://localhost:{secure}", f"{tmp_path}/web")
            code, (http, https, unix) = look("--ca", authority.ca, "--http", *wanted)
            assert code == 0
            assert http["http"]["status"] == https["http"]["status"] == unix["http"]["status"] == 204
            assert http["http"]["server"].startswith("nginx")
            assert https["tls"]["verified"]
            code, (mistaken,) = look("--http", f"localhost:{secure}")
            assert (code, "TLS is spoken here" in mistaken["problem"]) == (1, True)
            code, (no_websocket,) = look(f"ws://localhost:{plain}/")
            assert (code, "answers 204" in no_websocket["problem"]) == (1, True)
        finally:
            process.kill()
