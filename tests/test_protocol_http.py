"""HTTP against nginx, `prise web` and Python's own server: versions 1.1 and 2, in both colours."""

from __future__ import annotations

import asyncio
import functools
import http.server
import itertools
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

import prise
from application_support import folder
from peers import Peer, free_port
from prise.errors import (
    ConnectionLost,
    LoginFailed,
    MessageTooLarge,
    NotFound,
    ProtocolError,
    Refused,
    TLSError,
    Unsupported,
    UsageError,
)
from prise.protocols.source import Source
from real_servers.nginx import Nginx

NUMBERS = itertools.count()


@pytest.fixture(params=["1.1", "1.1 with TLS", "2"])
def way(request: pytest.FixtureRequest, nginx: Nginx) -> tuple[str, dict[str, Any]]:
    """How to get to nginx: (URL of its root, options of prise.open)."""
    tls = request.param != "1.1"
    options: dict[str, Any] = {"http2": True} if request.param == "2" else {}
    if tls:
        options["tls"] = prise.TLS(ca=nginx.ca)
    return f"http{'s' if tls else ''}://localhost:{nginx.tls_port if tls else nginx.port}/", options


def text_of(nginx: Nginx, path: str, **options: Any) -> str:
    with prise.open(nginx.url(), **options) as web:
        return str(web.request("GET", path).text)


# -- the three verbs ---------------------------------------------------------------------------------------------------


def test_a_file_is_fetched(way: tuple[str, dict[str, Any]]) -> None:
    url, options = way
    with prise.open(url, **options) as web:
        content = web.get("hello.txt")
        assert (content.size, content.name, content.kind) == (12, "hello.txt", "text/plain")
        assert content.read() == b"hello nginx\n"
        assert web.response.http_version == ("2" if "http2" in options else "1.1")
        assert web.response.url == f"{url}hello.txt"


def test_the_same_with_await(way: tuple[str, dict[str, Any]]) -> None:
    url, options = way

    async def main() -> None:
        async with prise.open(url, **options) as web:
            content = await web.get("hello.txt")
            assert content.size == 12
            assert b"".join([piece async for piece in content]) == b"hello nginx\n"
            assert (await web.head("hello.txt")).headers["Content-Type"] == "text/plain"
            await web.put("dav/async.txt", b"put")
            assert await web.get("dav/async.txt").read() == b"put"
            assert "hello.txt" in [entry.name.rpartition("/")[2] async for entry in web.list("list/")]
            with pytest.raises(NotFound):
                await web.get("missing")
            assert await web.get("redirect").read() == b"hello nginx\n"
            web.connection.abort()
            assert (await web.post("echo", json=1)).text.startswith("POST")
        assert await prise.get(f"{url}hello.txt", **options).read() == b"hello nginx\n"

    asyncio.run(main())


def test_in_one_line(nginx: Nginx, tmp_path: Path) -> None:
    place = f"dav/one-line-{next(NUMBERS)}"
    prise.put(nginx.url(place), b"one line")
    assert prise.get(nginx.url(place)).save(tmp_path / "file") == 8
    assert (tmp_path / "file").read_bytes() == b"one line"
    assert "hello.txt" in [entry.name for entry in prise.ls(nginx.url("list/"))]


def test_random_files_come_back_byte_for_byte(way: tuple[str, dict[str, Any]]) -> None:
    url, options = way
    random = Random(6)
    alphabet = [b".", b"\r\n", b"\n", b"\0", b"\xff", "ü€".encode(), b"a" * 1000, b"0\r\n\r\n"]
    with prise.open(url, **options) as web:
        for number in range(100):
            data = b"".join(random.choices(alphabet, k=random.randrange(60)))
            if number % 25 == 0:
                data += random.randbytes(300_000)
            name = f"dav/random/{random.choice(['a b', '50%', 'ü', 'c:d', 'e?f', 'g#h', '+&='])}{number}"
            web.put(name, data if number % 2 else iter([data[:7], b"", data[7:]]))
            assert web.get(name).read() == data


def test_a_folder_is_listed(nginx: Nginx) -> None:
    nginx.place("listed/a b%20c?d#e.txt", b"12345")
    nginx.place("listed/ü/in it", b"")
    with prise.open(nginx.url("list/")) as web:
        entries = {entry.name: entry for entry in web.list("listed/")}
        assert set(entries) == {"listed/a b%20c?d#e.txt", "listed/ü/"}
        file = entries["listed/a b%20c?d#e.txt"]
        assert (file.kind, file.size, entries["listed/ü/"].kind) == ("file", 5, "folder")
        assert file.modified is not None
        assert abs((datetime.now(UTC) - file.modified).total_seconds()) < 3600
        assert web.get(file.name).read() == b"12345"
        assert [entry.name for entry in web.list("listed/ü/")] == ["listed/ü/in it"]
    with prise.open(nginx.url("list-json/listed/")) as web:
        assert {entry.name: (entry.kind, entry.size) for entry in web.list()} == {
            "a b%20c?d#e.txt": ("file", 5),
            "ü/": ("folder", None),
        }
        assert web.get("a b%20c?d#e.txt").read() == b"12345"


def test_a_folder_without_its_slash_is_listed_too(nginx: Nginx) -> None:
    nginx.place("slash/file", b"there")
    with prise.open(nginx.url("slash")) as web, pytest.raises(Refused):
        web.list()
    with prise.open(nginx.url("list/slash")) as web:
        (entry,) = web.list()
        assert web.response.history == (f"http://127.0.0.1:{nginx.port}/list/slash",)
        assert web.get(entry.name).read() == b"there"


def test_what_prise_web_lists_is_read_with_dates_and_sizes(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a;b&c.txt").write_bytes(b"inside")
    (tmp_path / "big.bin").write_bytes(bytes(5000))
    with folder(tmp_path) as served, prise.open(f"{served.url}/") as web:
        entries = {entry.name: entry for entry in web.list()}
        assert {name: (entry.kind, entry.size) for name, entry in entries.items()} == {
            "sub/": ("folder", None),
            "big.bin": ("file", 5000),
        }
        modified = entries["big.bin"].modified
        assert modified is not None
        assert int(modified.timestamp()) == int((tmp_path / "big.bin").stat().st_mtime)
        (inside,) = web.list("sub/")
        assert web.get(inside.name).read() == b"inside"


@pytest.fixture
def python_server(tmp_path: Path) -> Iterator[str]:
    """`python -m http.server`, which speaks HTTP/1.0."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def test_http_1_0_without_keep_alive(python_server: str, tmp_path: Path) -> None:
    (tmp_path / "a&b <c>.txt").write_bytes(b"old")
    (tmp_path / "folder").mkdir()
    with prise.open(python_server) as web:
        assert sorted((entry.name, entry.kind) for entry in web.list()) == [
            ("a&b <c>.txt", "file"),
            ("folder/", "folder"),
        ]
        assert web.get("a&b <c>.txt").read() == b"old"
        assert web.response.http_version == "1.0"
        with pytest.raises(Unsupported, match="does not begin in the middle"):
            web.get("a&b <c>.txt", offset=1)
        assert web.get("a&b <c>.txt").read() == b"old"


def test_what_is_no_page_is_not_listed(nginx: Nginx) -> None:
    with prise.open(nginx.url()) as web:
        with pytest.raises(Unsupported, match="text/plain"):
            web.list("hello.txt")
        nginx.place("api.json", b'{"answer": 42}')
        with pytest.raises(Unsupported, match="no list of files"):
            list(web.list("api.json"))
        assert web.request("GET", "api.json").json() == {"answer": 42}


# -- parts of files ----------------------------------------------------------------------------------------------------


def test_a_transfer_goes_on_where_it_stopped(way: tuple[str, dict[str, Any]], nginx: Nginx, tmp_path: Path) -> None:
    url, options = way
    data = Random(1).randbytes(100_000)
    nginx.place("resumed.bin", data)
    file = tmp_path / "file"
    file.write_bytes(data[:60_000])
    with prise.open(f"{url}resumed.bin", **options) as web:
        content = web.get(offset=60_000)
        assert content.size == 40_000
        content.save(file, append=True)
        assert file.read_bytes() == data
        assert web.get(offset=100_000).read() == b""
        with pytest.raises(Refused, match="416"):
            web.get(offset=100_001)


def test_a_file_that_has_changed_is_not_gone_on_with(nginx: Nginx) -> None:
    nginx.place("changing.bin", b"x" * 1000)
    with prise.open(nginx.url("changing.bin")) as web:
        assert len(web.get().read()) == 1000
        assert len(web.get(offset=400).read()) == 600
        nginx.place("changing.bin", b"y" * 2000)
        with pytest.raises(Unsupported, match="has changed"):
            web.get(offset=400)
        assert web.get().read() == b"y" * 2000


def test_a_download_is_left_in_the_middle(way: tuple[str, dict[str, Any]], nginx: Nginx) -> None:
    url, options = way
    nginx.place("large.bin", bytes(3_000_000))
    with prise.open(url, **options) as web:
        with web.get("large.bin") as content:
            assert next(content)
        with web.get("hello.txt") as content:
            pass
        assert web.get("hello.txt").read() == b"hello nginx\n"


# -- packed ------------------------------------------------------------------------------------------------------------


def test_answers_may_be_packed(way: tuple[str, dict[str, Any]], nginx: Nginx) -> None:
    url, options = way
    data = b"the same line again and again\n" * 20_000
    nginx.place("long.txt", data)
    with prise.open(url, **options, compressed=True) as web:
        content = web.get("long.txt")
        assert content.size is None
        assert web.response.headers["content-encoding"] == "gzip"
        assert content.read() == data
        assert web.request("GET", "long.txt").content == data
    with prise.open(url, **options) as web:
        content = web.get("long.txt")
        assert content.size == len(data)
        assert content.read() == data


def test_a_part_is_not_asked_for_packed(way: tuple[str, dict[str, Any]]) -> None:
    """Nobody can unpack the middle of something."""
    url, options = way
    with prise.open(url, **options) as web:
        answer = web.request("GET", "hello.txt", headers={"Range": "bytes=2-4"})
        assert (answer.status, answer.content) == (206, b"llo")
    with prise.open(url, headers={"Range": "bytes=0-1"}, **options) as web:
        assert web.get("hello.txt").read() == b"he"


def test_a_bomb_is_refused(nginx: Nginx) -> None:
    nginx.place("bomb.txt", bytes(5_000_000))
    with prise.open(nginx.url()) as web, pytest.raises(MessageTooLarge, match="piece by piece"):
        web.request("GET", "bomb.txt", limit=1_000_000)


# -- requests ----------------------------------------------------------------------------------------------------------


def test_requests_of_any_method(way: tuple[str, dict[str, Any]]) -> None:
    url, options = way
    with prise.open(url, **options) as web:
        echo = web.request("GET", "echo", params={"q": "a b&c", "n": [1, 2]}, headers={"User-Agent": "me"})
        method, path, agent, _cookie, _kind, version, *_ = echo.text.split("\n")
        assert (method, path, agent) == ("GET", "/echo?q=a+b%26c&n=1&n=2", "me")
        assert version == ("HTTP/2.0" if "http2" in options else "HTTP/1.1")
        assert web.post("echo", json={"a": 1}).text.split("\n")[4] == "application/json"
        assert web.post("echo", form={"a": 1}).text.split("\n")[4] == "application/x-www-form-urlencoded"
        assert "multipart/form-data; boundary=" in web.post("echo", files={"f": b"x"}, form={"a": "b"}).text
        assert web.patch("echo", data=b"x" * 70_000).text.startswith("PATCH\n")
        assert web.request("OPTIONS", "echo").text.startswith("OPTIONS\n")
        assert web.head("hello.txt").headers["content-length"] == "12"
        assert web.request("GET", "echo?x=1").text.split("\n")[1] == "/echo?x=1"
        web.put("dav/deleted", b"")
        assert web.delete("dav/deleted").status == 204
        with pytest.raises(NotFound):
            web.get("dav/deleted")
        answer = web.request("GET", "missing", check=False)
        assert (answer.status, answer.ok) == (404, False)
        assert b"404" in answer.content
        content = web.fetch("echo", "POST", data=b"x")
        assert content.read().startswith(b"POST\n")


def test_uploads_of_unknown_and_known_length(way: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    url, options = way
    data = Random(2).randbytes(3_000_000)
    (tmp_path / "up.bin").write_bytes(data)
    progress: list[int] = []

    def counted() -> Iterator[bytes]:
        for at in range(0, len(data), 100_000):
            progress.append(at)
            yield data[at : at + 100_000]

    with prise.open(f"{url}dav/", **options) as web:
        web.put("pieces", counted())
        assert len(progress) == 30
        assert web.get("pieces").read() == data
        web.put("sized", Source(counted(), len(data)))
        web.put(None, tmp_path / "up.bin")
        assert web.get("up.bin").read() == data
        with (tmp_path / "up.bin").open("rb") as file:
            web.put("file", file)
        assert web.head("file").headers["content-length"] == str(len(data))
        with pytest.raises(UsageError, match="under which name"):
            web.put(None, b"")
        with pytest.raises(UsageError, match="has not the 5 bytes"):
            web.put("short", Source([b"1234"], 5))
        with pytest.raises(UsageError, match="has not the 5 bytes"):
            web.put("long", Source([b"1234", b"56"], 5))
        assert web.get("sized").read() == data


def test_what_cannot_be_asked_is_refused_at_once(nginx: Nginx) -> None:
    with prise.open(nginx.url()) as web:
        for wrong in ({"headers": {"A": "b\r\nC: d"}}, {"headers": {"a b": "c"}}, {"headers": {"Content-Length": "3"}}):
            with pytest.raises(UsageError):
                web.request("GET", "echo", **wrong)
        with pytest.raises(UsageError):
            web.request("GET /x HTTP/1.1\r\n", "echo")
        with pytest.raises(UsageError, match="one body"):
            web.post("echo", json=1, form={"a": 1})
        with pytest.raises(UsageError, match="is not HTTP"):
            web.request("GET", "ftp://example.org/")
        with pytest.raises(UsageError, match="is no URL"):
            web.request("GET", "http://[")
        with pytest.raises(UsageError, match="not negative"):
            web.get("hello.txt", offset=-1)
        with pytest.raises(UsageError, match="another server"):
            web.request("GET", "http://u:pw@example.org/")
        assert web.request("GET", "echo").ok
    with pytest.raises(UsageError, match="has no option colour"):
        prise.open(nginx.url(), colour="red")


def test_a_server_that_does_not_want_a_body_is_not_sent_it(nginx: Nginx) -> None:
    """Pieces that cannot be sent twice wait until the server has said that it wants them (Expect: 100-continue)."""
    taken: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(100):
            taken.append(number)
            yield bytes(1000)

    with prise.open(nginx.url()) as web:
        with pytest.raises(Refused, match="403"):
            web.put("forbidden", pieces())
        assert not taken
        assert web.get("hello.txt").read() == b"hello nginx\n"


# -- redirects, cookies ------------------------------------------------------------------------------------------------


def test_redirects_are_followed(way: tuple[str, dict[str, Any]]) -> None:
    url, options = way
    with prise.open(url, **options) as web:
        assert web.get("redirect").read() == b"hello nginx\n"
        assert web.response.url.endswith("/hello.txt")
        assert web.response.history == (f"{url}redirect",)
        assert web.get("redirect").name == "hello.txt"
    with prise.open(url, **options) as web:
        assert web.request("GET", "redirect", follow=False).status == 302
        assert web.post("moved", data=b"x").content == b"hello nginx\n"
        with pytest.raises(ProtocolError, match="in a circle"):
            web.get("loop")


def test_redirects_to_another_server(nginx: Nginx) -> None:
    with prise.open(nginx.url()) as web, pytest.raises(prise.ConnectError):
        web.get("elsewhere")


def test_cookies_live_as_long_as_the_session(way: tuple[str, dict[str, Any]]) -> None:
    url, options = way
    with prise.open(url, **options) as web:
        assert web.request("GET", "echo").text.split("\n")[3] == ""
        assert web.request("GET", "cookie").status == 204
        assert web.request("GET", "echo").text.split("\n")[3] == "taste=sweet"
        assert web.request("GET", "echo", headers={"Cookie": "a=b"}).text.split("\n")[3] == "a=b"
    with prise.open(url, **options) as web:
        assert web.request("GET", "echo").text.split("\n")[3] == ""


# -- a server's no -----------------------------------------------------------------------------------------------------


def test_a_no_has_the_servers_code_and_words(way: tuple[str, dict[str, Any]]) -> None:
    url, options = way
    with prise.open(url, **options) as web:
        with pytest.raises(NotFound) as missing:
            web.get("missing")
        assert (missing.value.code, missing.value.words) == ("404", "Not Found")
        assert f"{url}missing" in str(missing.value)
        with pytest.raises(Refused, match=r"429 Too Many Requests \(Retry-After: 1\)"):
            web.get("limited")
        with pytest.raises(Refused, match="503"):
            web.get("unavailable")
        assert web.get("hello.txt").read() == b"hello nginx\n"


def test_who_logs_in(way: tuple[str, dict[str, Any]]) -> None:
    url, options = way
    heard: list[str] = []
    place = f"{url}auth/hello.txt"
    logins: list[dict[str, Any]] = [
        {"user": "u", "password": "pw"},
        {"ask": lambda host, user: ("u", "pw"), "netrc": False},
    ]
    for login in logins:
        with prise.open(place, **options, **login, trace=lambda way, line: heard.append(f"{way} {line}")) as web:
            assert web.get().read() == web.get().read() == b"hello nginx\n"
    assert prise.get(place.replace("://", "://u:pw@"), **options).read() == b"hello nginx\n"
    wrongs: list[dict[str, Any]] = [{"user": "u", "password": "wrong"}, {"netrc": False, "keyring": False}]
    for wrong in wrongs:
        with prise.open(place, **options, **wrong) as web:
            with pytest.raises(LoginFailed) as failed:
                web.get()
            assert failed.value.code == "401"
            assert failed.value.exit_code == 7
            assert ("it wants a user" in str(failed.value)) == ("user" not in wrong)
            assert web.request("GET", "/hello.txt").ok
    said = "\n".join(heard).lower()
    assert "authorization:" in said
    assert "dtpwdw" not in said  # u:pw in base64


def test_a_login_that_was_not_said_outright_needs_tls(nginx: Nginx) -> None:
    """~/.netrc goes by the name of a host alone: a link in clear must not get its password."""
    options: dict[str, Any] = {
        "address": f"127.0.0.1:{nginx.port}",
        "netrc": False,
        "ask": lambda host, user: ("u", "pw"),
    }
    with prise.open("http://example.org/auth/hello.txt", **options) as web, pytest.raises(TLSError, match="in clear"):
        web.get()
    with prise.open("http://u:pw@example.org/auth/hello.txt", **options) as web:
        assert web.get().read() == b"hello nginx\n"


def test_a_token_is_sent_as_it_is(nginx: Nginx) -> None:
    heard: list[str] = []
    tls = prise.TLS(ca=nginx.ca)
    options: dict[str, Any] = {"token": "secret", "tls": tls, "trace": lambda way, line: heard.append(line)}
    with prise.open(f"https://localhost:{nginx.tls_port}/", **options) as web:
        assert web.request("GET", "echo").ok
    assert "Authorization: Bearer ********" in heard
    assert not any("secret" in line for line in heard)


def test_the_trace_is_the_talk_without_secrets(way: tuple[str, dict[str, Any]]) -> None:
    url, options = way
    heard: list[str] = []
    with prise.open(url, **options, trace=lambda way, line: heard.append(f"{way} {line}")) as web:
        web.request("GET", "cookie")
        web.request("GET", "echo")
    version = "2" if "http2" in options else "1.1"
    assert heard[0] == f"> GET /cookie HTTP/{version}"
    assert any(line.startswith(f"< HTTP/{version} 20") for line in heard)
    assert any("ookie:" in line and "****" in line for line in heard)
    assert not any("sweet" in line for line in heard)


# -- the way there -----------------------------------------------------------------------------------------------------


def test_tls_is_verified(nginx: Nginx) -> None:
    url = f"https://localhost:{nginx.tls_port}/hello.txt"
    with pytest.raises(TLSError):
        prise.get(url).read()
    with pytest.raises(TLSError):
        prise.get(url, tls=prise.TLS(pin="00" * 32), http2=True).read()
    assert prise.get(url, tls=prise.TLS(verify=False)).read() == b"hello nginx\n"
    with prise.open(url, tls=prise.TLS(ca=nginx.ca)) as web:
        fingerprint = web.connection.tls.fingerprint
    assert prise.get(url, tls=prise.TLS(pin=fingerprint), http2=True).read() == b"hello nginx\n"
    with pytest.raises(TLSError, match="no version of TLS in common"):  # this nginx has TLS 1.2 alone
        prise.get(url, tls=prise.TLS(pin=fingerprint, minimum="1.3"))


def test_a_context_of_ones_own_says_itself_which_version_is_offered(nginx: Nginx) -> None:
    import ssl

    context = ssl.create_default_context(cafile=str(nginx.ca))
    for versions, expected in ((None, "1.1"), (["h2"], "2")):
        if versions:
            context.set_alpn_protocols(versions)
        tls = prise.TLS(context=context)
        with prise.open(f"https://localhost:{nginx.tls_port}/", tls=tls, http2=True) as web:
            assert web.head("hello.txt").http_version == expected


def test_http2_needs_its_package(nginx: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h2.connection", None)  # as where it is not installed
    with pytest.raises(prise.MissingExtra, match=r"pip install 'prise\[http\]'"), prise.open(nginx.url(), http2=True):
        pass


def test_through_a_proxy(nginx: Nginx) -> None:
    port = free_port()
    with Peer("microsocks", "-i", "127.0.0.1", "-p", str(port), port=port):
        with prise.open(nginx.url(), via=f"socks5://127.0.0.1:{port}") as web:
            assert web.get("hello.txt").read() == b"hello nginx\n"


def test_over_a_unix_socket(nginx: Nginx) -> None:
    with prise.open("http://any.name/hello.txt", address=f"unix:{nginx.unix}") as web:
        assert web.get().read() == b"hello nginx\n"
        with pytest.raises(prise.ConnectError):  # the socket stands for any.name alone
            web.get("/elsewhere")


def test_a_session_goes_on_when_its_link_was_closed(way: tuple[str, dict[str, Any]]) -> None:
    url, options = way
    with prise.open(url, **options) as web:
        assert web.get("hello.txt").read()
        web.connection.abort()  # as if the server had closed it
        assert web.get("hello.txt").read()


def test_a_server_that_dies_in_the_middle(tmp_path: Path) -> None:
    with Nginx() as server:
        server.place("big.bin", bytes(300_000))
        with prise.open(server.url("slow/"), timeout=5) as web:
            content = web.get("big.bin")
            assert content.size == 300_000
            assert next(content)
            server.kill()
            with pytest.raises(ConnectionLost):
                content.read()


def test_a_request_in_the_middle_of_a_download(way: tuple[str, dict[str, Any]], nginx: Nginx) -> None:
    """The rest of the download is read first, and waits for its reader; a bomb is left, packed as it is, for the same reason."""
    url, options = way
    data = Random(3).randbytes(2_000_000)
    nginx.place("middle.bin", data)
    with prise.open(url, **options) as web:
        content = web.get("middle.bin")
        first = next(content)
        assert web.get("hello.txt").read() == b"hello nginx\n"
        assert first + content.read() == data


def test_a_bomb_does_not_wait_in_memory(nginx: Nginx) -> None:
    nginx.place("zeros.txt", bytes(100_000_000))
    with prise.open(nginx.url()) as web:
        with web.fetch("zeros.txt") as content:
            assert web.response.headers["content-encoding"] == "gzip"
            with pytest.raises(UsageError, match="still being read"):
                web.get("hello.txt")
            assert next(content)
        assert web.get("hello.txt").read() == b"hello nginx\n"
