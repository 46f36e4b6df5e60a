"""`prise web`: the real command, asked with curl and with plain sockets as its users ask."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import prise
from cli_process import PATIENCE, Running, run, run_here
from site_support import Answer, Served, write

pytest.importorskip("click")

if shutil.which("curl") is None:
    pytest.skip("curl is not installed", allow_module_level=True)

HELLO = b"hello, all of you\n" * 100


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what people have, beside a file that is nobody's business."""
    place = tmp_path_factory.mktemp("web")
    write(place / "secret.txt", "secret")
    folder = place / "folder"
    write(folder / "hello.txt", HELLO)
    write(folder / "data.bin", bytes(range(256)) * 40)
    write(folder / "<b>&'.txt", "a name")
    write(folder / ".env", "secret")
    write(folder / "sub" / "index.html", "<h1>été</h1>")
    write(folder / "papers" / "one.txt", "1")
    write(folder / "papers" / "deep" / "two.txt", "2")
    write(folder / "page.css", "a{}" * 500)
    write(folder / "page.css.gz", gzip.compress(b"made before"))
    (folder / "out").symlink_to("../secret.txt")
    (folder / "in").symlink_to("papers/one.txt")
    before = 1_700_000_000
    for file in folder.rglob("*"):
        os.utime(file, (before, before), follow_symlinks=False)
    return folder


class Site(Served):
    def __init__(self, server: Running, port: int, url: str) -> None:
        super().__init__(port)
        self.server = server
        self.url = url


@contextmanager
def web(folder: Path, *options: str, browser: str = "") -> Iterator[Site]:
    with Running("web", str(folder), "--on", "127.0.0.1:0", *options, BROWSER=browser) as server:
        found = server.err.expect(r"    (https?://127\.0\.0\.1:(\d+))$")
        yield Site(server, int(found[2]), found[1])


def fetched(site: Site, path: str, *arguments: str) -> bytes:
    """The body as curl saves it, without its chunks."""
    command = ["curl", "-q", "-sf", *arguments, site.url + path]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True).stdout


@pytest.fixture(scope="module")
def site(root: Path) -> Iterator[Site]:
    with web(root) as running:
        yield running


# -- What other servers of files do wrong ------------------------------------------------------------------------------------


def ranges(site: Site, value: str, *more: str) -> Answer:
    return site.get("/data.bin", "-H", f"Range: {value}", *more)


def test_parts(site: Site) -> None:
    first = ranges(site, "bytes=0-9")
    assert (first.status, first.body) == (206, bytes(range(10)))
    assert first.headers["content-range"] == "bytes 0-9/10240"
    assert ranges(site, "bytes=-5").body == bytes(range(251, 256))
    several = ranges(site, "bytes=0-1,5000-5001")
    assert several.headers["content-type"].startswith("multipart/byteranges")
    assert b"\r\n\x00\x01\r\n" in several.body
    assert b"\r\n\x88\x89\r\n" in several.body
    nothing = ranges(site, "bytes=99999-")
    assert (nothing.status, nothing.headers["content-range"]) == (416, "bytes */10240")
    assert ranges(site, "bytes=0-9", "-H", 'If-Range: "another"').status == 200


def test_what_the_client_has_is_not_sent_again(site: Site) -> None:
    headers = site.get("/data.bin").headers
    tag, changed = f"If-None-Match: {headers['etag']}", f"If-Modified-Since: {headers['last-modified']}"
    assert site.get("/data.bin", "-H", tag).status == 304
    assert site.get("/data.bin", "-H", changed).status == 304
    assert site.get("/data.bin", "-H", 'If-None-Match: "another"', "-H", changed).status == 200  # the tag goes before


def test_text_is_packed_and_what_was_packed_before_is_taken(site: Site) -> None:
    packed = site.get("/hello.txt", "-H", "Accept-Encoding: gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == HELLO
    before = site.get("/page.css", "-H", "Accept-Encoding: gzip")
    assert gzip.decompress(before.body) == b"made before"


def test_types_are_told_and_not_guessed(site: Site) -> None:
    assert site.get("/hello.txt").headers["content-type"] == "text/plain; charset=utf-8"
    for path in ("/hello.txt", "/", "/missing"):
        assert site.get(path).headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in site.get(path).headers


def test_the_listing(site: Site) -> None:
    page = site.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert b"hello.txt" in page.body
    assert b"<b>&" not in page.body
    assert b".env" not in page.body
    entries = json.loads(fetched(site, "/", "-H", "Accept: application/json"))
    assert {"hello.txt", "papers", "<b>&'.txt"} <= {entry["name"] for entry in entries}
    assert site.get("/papers").headers["location"] == "papers/"
    assert site.get("/sub/").body.decode() == "<h1>été</h1>"


def test_a_folder_is_taken_home_as_one_file(site: Site) -> None:
    with zipfile.ZipFile(io.BytesIO(fetched(site, "/papers/?download=zip"))) as archive:
        assert {Path(name).name for name in archive.namelist()} >= {"one.txt", "two.txt"}


@pytest.mark.parametrize(
    "path",
    [
        "/.env",
        "/out",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "/sub/../../secret.txt",
        "//../secret.txt",
        "/%252e%252e/secret.txt",
        "/..;/secret.txt",
    ],
)
def test_nothing_outside_is_reached(site: Site, path: str) -> None:
    assert site.get(path).status == 404


def test_the_path_is_looked_at_closely(site: Site) -> None:
    assert site.get("/in").body == b"1"
    assert site.get("/hello.txt%00").status == 400
    assert not site.get("//evil.example/%2e%2e/papers").headers.get("location", "").startswith("//")
    refused = site.get("/hello.txt", "-X", "POST")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert site.send(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").status == 400


# -- Options -----------------------------------------------------------------------------------------------------------------


CSS, PLAIN = "/page.css", "/hello.txt"


@pytest.mark.parametrize(
    ("options", "answers"),
    [
        (
            ["--cors", "--header", "X-Mine: 1", "--header", "Y: two words", "--max-age", "1h", "--no-compress"],
            [
                (PLAIN, 200, ("access-control-allow-origin", "*")),
                (PLAIN, 200, ("x-mine", "1")),
                ("/", 200, ("y", "two words")),
                (PLAIN, 200, ("cache-control", "max-age=3600")),
                (CSS, 200, ("content-length", "1500")),
            ],
        ),
        (
            [
                "--cors-from",
                "https://a.test",
                "--header",
                "Cache-Control: no-store",
                "--index",
                "hello.txt",
                "--dot-files",
            ],
            [
                (PLAIN, 200, ("access-control-allow-origin", "https://a.test")),
                (PLAIN, 200, ("cache-control", "no-store")),
                ("/", 200, ("content-type", "text/plain; charset=utf-8")),
                ("/.env", 200, None),
            ],
        ),
        (["--no-listing"], [("/", 404, None)]),
        (["--no-archives"], [("/?download=zip", 404, None), ("/", 200, None)]),
        (["--spa", "--index", "hello.txt"], [("/some/where", 200, None)]),
    ],
    ids=["headers", "what is there", "no listing", "no archives", "spa"],
)
def test_options(root: Path, options: list[str], answers: list[tuple[str, int, tuple[str, str] | None]]) -> None:
    """Those that do not disturb each other, on one server: its start is what takes the time."""
    with web(root, *options) as site:
        for path, status, header in answers:
            found = site.get(path, "-H", "Accept-Encoding: gzip", "-H", "Origin: https://a.test")
            assert found.status == status, path
            if header is not None:
                assert found.headers[header[0]] == header[1]


def test_uploads(tmp_path: Path) -> None:
    write(tmp_path / "old.txt", "old")
    with web(tmp_path, "--allow", "upload", "--max-upload", "1K") as site:
        assert site.get("/new.txt", "-X", "PUT", "--data-binary", "new").status == 201
        assert (tmp_path / "new.txt").read_text() == "new"
        assert site.get("/old.txt", "-X", "PUT", "--data-binary", "new").status == 409
        assert site.get("/old.txt", "-X", "DELETE").status == 403
        assert site.get("/large.txt", "-X", "PUT", "--data-binary", "x" * 1025).status == 413
        form = site.get("/", "-F", f"file=@{__file__};filename=form.txt", "-H", "Accept: application/json")
        assert form.status == 413  # this very file is longer
    assert sorted(os.listdir(tmp_path)) == ["new.txt", "old.txt"]
    with web(tmp_path, "--allow", "write") as site:
        assert site.get("/old.txt", "-X", "PUT", "--data-binary", "changed").status == 204
        assert site.get("/new.txt", "-X", "DELETE").status == 204
    assert os.listdir(tmp_path) == ["old.txt"]


def test_accounts(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "a")
    with web(tmp_path, "--auth", "ada:secret") as site:
        assert site.get("/a.txt").status == 401
        assert site.get("/a.txt", "-u", "ada:wrong").status == 401
        assert site.get("/a.txt", "-u", "ada:secret").status == 200
        site.server.err.expect(r'127\.0\.0\.1 - ada \[.*\] "GET /a.txt HTTP/1.1" 200 1$')
    with web(tmp_path, "--auth", "ada:secret", "--auth-for-writing", "--allow", "write") as site:
        assert site.get("/a.txt").status == 200
        assert site.get("/a.txt", "-X", "DELETE").status == 401
        assert site.get("/a.txt", "-X", "DELETE", "-u", "ada:secret").status == 204


def test_https(root: Path) -> None:
    pytest.importorskip("cryptography")
    with web(root, "--tls") as site:
        assert site.url.startswith("https://")
        assert any("self-signed" in line for line in site.server.err.seen)
        assert site.get("/hello.txt", "-k").body == HELLO
        command = ["curl", "-q", "-sk", "-v", "-o", os.devnull, f"{site.url}/hello.txt"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stderr
        assert re.search(r"ALPN.*server accepted.*http/1\.1", said)
        assert site.get("/data.bin", "-k", "-H", "Range: bytes=-1").body == b"\xff"


def test_several_addresses_and_a_unix_socket(root: Path, tmp_path: Path) -> None:
    place = tmp_path / "web.sock"
    with web(root, "--on", f"unix:{place}") as site:
        assert site.get("/hello.txt").status == 200
        site.server.err.expect("curl --unix-socket")
        assert site.get("/hello.txt", "--unix-socket", str(place)).body == HELLO


def test_workers(root: Path) -> None:
    with web(root, "--workers", "2") as site:
        for _ in range(10):
            assert site.get("/hello.txt").body == HELLO
        site.server.signal(signal.SIGTERM)
        assert site.server.wait() == 0


@pytest.mark.parametrize("format", ["common", "combined", "json"])
def test_a_line_for_each_answer(root: Path, tmp_path: Path, format: str) -> None:
    file = tmp_path / "access.log"
    with web(root, "--log", format, "--log-file", str(file)) as site:
        site.get("/hello.txt", "-A", "me")
        site.get("/missing", "-A", "me")
        site.server.signal()
        assert site.server.wait() == 0
    first, second = file.read_text().splitlines()
    if format == "json":
        assert json.loads(first)["target"] == "/hello.txt"
        assert json.loads(second)["status"] == 404
    else:
        assert '"GET /hello.txt HTTP/1.1" 200 1800' in first
        assert first.endswith(' "me"') == (format == "combined")


def test_no_log(root: Path) -> None:
    with web(root, "--log", "none") as site:
        site.get("/hello.txt")
        site.server.signal()
        assert site.server.err.rest() == []


def test_the_browser_is_shown_the_page(root: Path, tmp_path: Path) -> None:
    browser = write(tmp_path / "browser", '#!/bin/sh\necho "it shows $1" >&2\n')
    browser.chmod(0o755)
    with web(root, "--open", browser=f"{browser} %s") as site:
        site.server.err.expect(f"it shows {re.escape(site.url)}")


# -- Where it listens --------------------------------------------------------------------------------------------------------


def test_without_words_it_is_the_current_folder_on_the_usual_port_or_the_next(root: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8088))
            taken.listen()
        except OSError:
            pass  # somebody else has it, which is as good
        with Running("web", cwd=root) as server:
            said = server.err.expect(r"port 8088 is taken, perhaps by another server; using (\d+)")
            server.err.expect(f"serving {re.escape(str(root))} at")
            url = server.err.expect(r"    (http://(?:localhost|127\.0\.0\.1):(\d+))$")
            assert url[2] == said[1] != "8088"
            site = Served(int(said[1]))
            assert site.get("/hello.txt").body == HELLO


def test_only_this_machine_is_served_unless_the_network_is_asked_for(root: Path) -> None:
    from prise.lan import machine_addresses, opened_to
    from prise.web.application import Application
    from prise.web.server import Setting, introduction

    assert str(opened_to(prise.Address.parse(":8088"), True)) == "*:8088"
    assert opened_to(prise.Address.parse(":8088"), False).host is None
    everywhere = [prise.Address.parse("0.0.0.0:8088"), prise.Address.parse("[::]:8088")]
    lines = list(introduction(Setting(application=Application(root)), everywhere))
    assert lines[1] == "    http://localhost:8088"
    for host in machine_addresses():
        assert any(f"{host}]:8088" in line or f"{host}:8088" in line for line in lines)
    assert lines[-2:] == [
        "anybody who reaches this machine can read what is in the folder",
        "nothing is encrypted: others in the network can read along",
    ]
    allowed = Setting(application=Application(root, allow="write", auth="ada:secret", auth_for_writing=True))
    *_, permitted, encrypted = introduction(allowed, everywhere)
    assert "who has an account can change it" in permitted
    assert "the passwords neither" in encrypted
    here = list(introduction(Setting(application=Application(root)), [prise.Address.parse("127.0.0.1:8088")]))
    assert here[1:] == ["    http://127.0.0.1:8088"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["9000"], 2, "there is no folder 9000; to listen on port 9000: prise web --on :9000"),
        ([":9000"], 2, "to listen on port 9000: prise web --on :9000"),
        (["nowhere"], 2, "there is no folder nowhere"),
        ([__file__], 2, "is a file"),
        (["--on", "udp::1"], 2, "a folder is served on HOST:PORT, :PORT or unix:PATH, not on udp::1"),
        (["--cert", "x.pem"], 2, "--cert and --key go with --tls"),
        (["--auth-for-writing"], 2, "--auth-for-writing goes with --auth"),
        (["--auth-for-writing", "--auth", "a:b"], 2, "--allow upload or --allow write"),
        (["--max-upload", "1M"], 2, "--max-upload is about uploads"),
        (["--quota", "1M"], 2, "--quota is about uploads"),
        (["--cors", "--cors-from", "https://a.test"], 2, "give one of the two"),
        (["--header", "nothing"], 2, "--header is 'NAME: VALUE', not 'nothing'"),
        (["--header", "Date: now"], 2, "Date"),
        (["--log", "none", "--log-file", "x"], 2, "leave out --log-file"),
        (["--log-file", "/nowhere/x"], 2, "/nowhere/x"),
        (["--auth", "ada"], 2, "ada is neither a file of user:hash lines nor USER:PASSWORD"),
    ],
)
def test_what_cannot_be_meant_is_said(arguments: list[str], code: int, said: str) -> None:
    done = run_here("web", *arguments)
    assert said in done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("web", str(root), "--on", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 4
    assert "something already listens on port" in done.stderr


# -- The end -----------------------------------------------------------------------------------------------------------------


def test_what_is_being_sent_comes_to_its_end_and_silent_connections_hold_nobody_up(tmp_path: Path) -> None:
    size = 32 * 2**20
    with open(tmp_path / "large.bin", "wb") as file:
        file.truncate(size)
    with (
        web(tmp_path, "--drain", "10m") as site,
        socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE) as silent,
        socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE) as slow,
    ):
        silent.sendall(b"HEAD /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert silent.recv(65536).startswith(b"HTTP/1.1 200 ")
        slow.sendall(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = len(slow.recv(65536))
        site.server.signal(signal.SIGTERM)
        assert silent.recv(1) == b""
        with pytest.raises(ConnectionError):
            socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE).close()
        while piece := slow.recv(2**20):
            received += len(piece)
        assert received > size
        assert site.server.wait() == 0


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with open(tmp_path / "large.bin", "wb") as file:
        file.truncate(64 * 2**20)
    with (
        web(tmp_path, "--drain", "10m") as site,
        socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE) as slow,
    ):
        slow.sendall(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert slow.recv(1) == b"H"
        site.server.signal(signal.SIGINT)
        with pytest.raises(ConnectionError):  # the first one is being obeyed
            while True:
                socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE).close()
        site.server.signal(signal.SIGINT)
        assert site.server.wait() == 0
