"""A folder as answers, as curl sees them: pages, methods, headers, and what changes while it is served."""

from __future__ import annotations

import asyncio
import gzip
import os
import resource
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from prise import UsageError
from prise.web.cache import LARGEST, HotFiles, key_of, settled
from prise.web.folder import Opened
from prise.web.request import Body, HttpError, Request, parse
from prise.web.response import FilePart, Response, plain
from prise.web.routes import Routes
from prise.web.site import Site
from prise.web.types import content_type, packs_well
from site_support import Served, served, write


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site")
    write(root / "index.html", "<h1>home</h1>")
    write(root / "about.html", "about")
    write(root / "small.txt", "small")
    write(root / "empty.txt", "")
    write(root / "big.bin", os.urandom(300_000))
    write(root / "both.html", "the page")
    write(root / "both" / "index.html", "the folder")
    write(root / "indexed" / "index.html", "indexed")
    write(root / "bare" / "inner.txt", "inner")
    write(root / "folder.html" / "x.txt", "x")
    write(root / "évil: name" / "index.html", "spelled out")
    write(root / "404.html", "<h1>not here</h1>")
    return root


@pytest.fixture(scope="module")
def site(root: Path) -> Iterator[Served]:
    with served(Site(root)) as running:
        yield running


def test_pages(site: Served) -> None:
    for path, content in {
        "/": b"<h1>home</h1>",
        "/index.html": b"<h1>home</h1>",
        "/about": b"about",
        "/about.html": b"about",
        "/about?query=1": b"about",
        "/indexed/": b"indexed",
        "/both": b"the page",
        "/both/": b"the folder",
        "/small.txt": b"small",
        "/empty.txt": b"",
    }.items():
        for _ in range(2):
            answer = site.get(path)
            assert (answer.status, answer.body) == (200, content), path


def test_every_file_has_what_caches_and_browsers_want_to_know(site: Served) -> None:
    headers = site.get("/small.txt").headers
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-cache"
    assert headers["accept-ranges"] == "bytes"
    assert {"etag", "last-modified", "date"} <= headers.keys()


@pytest.mark.parametrize("path", ["/", "/small.txt", "/big.bin", "/empty.txt", "/indexed", "/missing", "/about"])
def test_head_has_the_headers_of_get(site: Served, path: str) -> None:
    get, head = site.get(path), site.get(path, "-I")
    assert head.body == b""
    assert head.status == get.status
    assert {**get.headers, "date": ""} == {**head.headers, "date": ""}


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/indexed", "indexed/"),
        ("/indexed?a=b&c", "indexed/?a=b&c"),
        ("/bare", "bare/"),
        ("/évil: name", "%C3%A9vil%3A%20name/"),  # a colon would make a scheme of it
    ],
)
def test_a_folder_without_its_slash_is_a_redirect_to_a_relative_path(site: Served, path: str, location: str) -> None:
    answer = site.get(quote(path, safe="/?=&"))
    assert (answer.status, answer.headers["location"]) == (301, location)


def test_curl_follows_it(site: Served) -> None:
    followed = site.get("/indexed", "-L")  # curl prints both answers
    assert b"\r\n\r\nindexed" in followed.body


@pytest.mark.parametrize(
    "path",
    [
        b"//evil.example/%2e%2e",
        b"//evil.example/..",
        b"//evil.example/%2e%2e/indexed",
        b"/\\evil.example/../indexed",
        b"/%5cevil.example/%2e%2e/indexed",
        b"//indexed",
        b"/%2findexed",
        b"/%0d%0aSet-Cookie:x/indexed",
        b"http://evil.example//indexed",
    ],
)
def test_no_redirect_leads_elsewhere(site: Served, path: bytes) -> None:
    answer = site.ask(path)
    assert answer.status in (400, 404)
    assert not {"location", "set-cookie"} & answer.headers.keys()


def test_a_path_that_is_nowhere(site: Served, root: Path) -> None:
    for path in ("/missing", "/missing/", "/bare/", "/bare/missing.txt", "/folder", "/small.txt/", "/about/"):
        answer = site.get(path)
        assert (answer.status, answer.body) == (404, b"<h1>not here</h1>"), path
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert not {"etag", "last-modified", "accept-ranges"} & answer.headers.keys()
    with served(Site(root, not_found="")) as other:
        assert other.get("/missing").body == b"Not Found\n"


def test_a_single_page_application(root: Path) -> None:
    with served(Site(root, spa=True)) as site:
        for path in ("/app/users/7", "/app/", "/missing", "/v1.2/missing"):
            assert site.get(path).body == b"<h1>home</h1>"
        assert site.get("/small.txt").body == b"small"
        for path in ("/missing.js", "/.env", "/.git/config"):
            assert site.get(path).status == 404


def test_a_folder_with_the_name_of_a_page_is_no_page(tmp_path: Path) -> None:
    write(tmp_path / "index.html" / "x.txt", "x")
    write(tmp_path / "404.html" / "x.txt", "x")
    for spa in (False, True):
        with served(Site(tmp_path, spa=spa, index=("index.html", "index.htm"))) as site:
            assert site.get("/").status == 404
            assert site.get("/missing").body == b"Not Found\n"
    write(tmp_path / "index.htm", "the next")
    with served(Site(tmp_path, spa=True, index=("index.html", "index.htm"))) as site:
        assert site.get("/").body == site.get("/missing").body == b"the next"


def test_without_pretty_paths_and_with_other_indexes(root: Path) -> None:
    with served(Site(root, pretty=False, index=("about.html", "small.txt"))) as site:
        assert site.get("/about").status == 404
        assert site.get("/").body == b"about"
        assert site.get("/indexed/").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND", "TRACE", "BREW"])
def test_other_methods_are_405_and_told_which_are_not(site: Served, method: str) -> None:
    for path in ("/small.txt", "/missing"):
        answer = site.get(path, "-X", method)
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


def test_options(site: Served) -> None:
    for path in ("/small.txt", "/missing"):
        answer = site.get(path, "-X", "OPTIONS")
        assert (answer.status, answer.headers["allow"], answer.body) == (204, "GET, HEAD, OPTIONS", b"")
    assert site.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status == 204


def test_other_origins(root: Path) -> None:
    with served(Site(root)) as site:
        assert "access-control-allow-origin" not in site.get("/small.txt", "-H", "Origin: http://a.example").headers
    for cors, expected in ((True, "*"), ("https://a.example", "https://a.example")):
        with served(Site(root, cors=cors)) as site:
            for path in ("/small.txt", "/big.bin", "/missing", "/indexed"):
                headers = site.get(path).headers
                assert headers["access-control-allow-origin"] == expected
                assert "ETag" in headers["access-control-expose-headers"]
            asked = site.get(
                "/small.txt",
                *("-X", "OPTIONS", "-H", "Origin: https://a.example", "-H", "Access-Control-Request-Method: GET"),
                *("-H", "Access-Control-Request-Headers: range, x-mine"),
            )
            assert asked.status == 204
            assert asked.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
            assert asked.headers["access-control-allow-headers"] == "range, x-mine"


def test_headers_of_the_user_are_added_or_replace_ours(root: Path) -> None:
    own = [
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Embedder-Policy", "require-corp"),
        ("cache-control", "max-age=5"),
        ("Vary", "Cookie"),
    ]
    with served(Site(root, headers=own)) as site:
        for path in ("/about.html", "/about.html", "/big.bin", "/missing", "/indexed"):
            headers = site.get(path).headers
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert headers["cross-origin-embedder-policy"] == "require-corp"
            assert headers["cache-control"] == "max-age=5"
            assert headers["x-content-type-options"] == "nosniff"
        assert site.get("/about.html").headers["vary"] == "Accept-Encoding, Cookie"
    for name, value in (("Bad Name", "x"), ("X", "two\r\nlines"), ("Content-Length", "5"), ("X", "日本")):
        with pytest.raises(UsageError):
            Site(root, headers=[(name, value)])


def test_max_age(root: Path) -> None:
    with served(Site(root, max_age=3600)) as site:
        assert site.get("/small.txt").headers["cache-control"] == "max-age=3600"
        assert site.get("/missing").headers["cache-control"] == "no-cache"


def old(path: Path) -> Path:
    """As if it had been there for long: what was written this moment is not remembered yet."""
    while not settled(os.stat(path)):
        pass
    return path


def test_an_edited_file_is_seen_at_once(tmp_path: Path) -> None:
    """Each edit keeps the length; the file is asked for so often that memory would have it."""
    page = write(tmp_path / "page.html", "edition 000")
    hot = Site(tmp_path)
    with served(hot) as site:
        for edition in range(1, 60):
            assert site.ask(b"/page.html").body == b"edition %03d" % (edition - 1)
            assert site.ask(b"/page").body == b"edition %03d" % (edition - 1)
            before = page.stat()
            if edition % 3 == 0:
                write(tmp_path / "new", f"edition {edition:03}").replace(page)
            else:
                write(page, f"edition {edition:03}")
            if edition % 2:
                os.utime(page, ns=(before.st_atime_ns, before.st_mtime_ns))
        page.unlink()
        assert site.ask(b"/page.html").status == 404
        assert site.ask(b"/page").status == 404
        write(tmp_path / "page", "without an ending")
        assert site.ask(b"/page").body == b"without an ending"


def test_an_edit_that_sets_the_time_back_is_seen_as_well(tmp_path: Path) -> None:
    """As `cp -p` and `rsync -t` do."""
    page = old(write(tmp_path / "page.html", "edition 1"))
    site = Site(tmp_path)
    ask(site, request("/page.html"))
    assert site.quick(request("/page.html")) is not None
    before = page.stat()
    page.write_text("edition 2")
    os.utime(page, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert site.quick(request("/page.html")) is None
    assert ask(site, request("/page.html")).body == b"edition 2"


def request(path: str = "/", *fields: str, method: str = "GET") -> Request:
    return parse("\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", *fields, "", ""]).encode())


class NoBody:
    """For a handler that is called without a connection, and reads nothing."""


def ask(handler: Site | Routes, one: Request) -> Response:
    answer = asyncio.run(handler(one, NoBody()))  # type: ignore[arg-type]
    assert isinstance(answer, Response)
    return answer


def test_a_small_file_is_answered_from_memory(tmp_path: Path) -> None:
    page = old(write(tmp_path / "index.html", "home"))
    site = Site(tmp_path)
    assert site.quick(request()) is None
    ask(site, request())
    ready = site.quick(request())
    assert ready is not None
    assert (ready.status, ready.length) == (200, 4)
    assert ready.rest.endswith(b"\r\n\r\nhome")
    head = site.quick(request(method="HEAD"))
    assert head is not None
    assert ready.rest == head.rest + b"home"
    unchanged = site.quick(request("/", "If-None-Match: *"))
    assert unchanged is not None
    assert unchanged.status == 304
    for one in (
        request("/", "Range: bytes=0-1"),
        request("/", 'If-Match: "x"'),
        request("/", "Accept-Encoding: gzip"),  # another form, though its bytes would be the same
        request("/", "Content-Length: 5"),
        request("/", method="POST"),
        request("/index.html"),  # not asked for yet
    ):
        assert site.quick(one) is None
    assert site.quick(request()) == ready
    page.write_text("away")
    assert site.quick(request()) is None


def test_requests_that_were_there_together_share_one_look_at_the_file(tmp_path: Path) -> None:
    page = old(write(tmp_path / "index.html", "home"))
    site = Site(tmp_path)

    async def visits() -> None:
        await site(request(), NoBody())  # type: ignore[arg-type]
        await asyncio.sleep(0)
        assert site.quick(request()) is not None
        page.write_text("elsewhere")
        assert site.quick(request()) is not None  # in the same round of the loop
        await asyncio.sleep(0)
        assert site.quick(request()) is None  # in the next

    asyncio.run(visits())


def test_what_is_remembered_has_bounds(tmp_path: Path) -> None:
    for number in range(30):
        write(tmp_path / f"{number}.png", b"x" * 1000)
    write(tmp_path / "at-most.png", b"x" * LARGEST)
    old(write(tmp_path / "larger.png", b"x" * (LARGEST + 1)))
    site = Site(tmp_path, hot=20_000)
    for number in range(30):
        ask(site, request(f"/{number}.png"))
        assert site.hot.size <= 20_000
    assert site.quick(request("/0.png")) is None
    assert site.quick(request("/29.png")) is not None
    site = Site(tmp_path)
    for name in ("at-most", "larger"):
        response = ask(site, request(f"/{name}.png"))
        if response.close is not None:
            response.close()
    assert site.quick(request("/at-most.png")) is not None
    assert site.quick(request("/larger.png")) is None
    nothing = Site(tmp_path, hot=0)
    ask(nothing, request("/0.png"))
    assert nothing.quick(request("/0.png")) is None


def test_a_file_that_changed_this_moment_is_not_remembered_yet(tmp_path: Path) -> None:
    """Its next change might be in the same tick of the clock, and not be seen."""
    path = write(tmp_path / "a.txt", "x")
    later = path.stat().st_mtime_ns + 10**10
    os.utime(path, ns=(later, later))
    site = Site(tmp_path)
    ask(site, request("/a.txt"))
    assert site.quick(request("/a.txt")) is None


def test_a_key_is_the_path_and_what_codings_are_taken() -> None:
    assert key_of(request("/a?b")) == key_of(request("/a", "Accept-Encoding: deflate")) == ("/a", ())
    assert key_of(request("/a", "Accept-Encoding: gzip, br")) == key_of(request("/a", "Accept-Encoding: br, gzip"))
    assert HotFiles().get(request("/a")) is None


def test_a_big_file_is_sent_from_its_descriptor_which_is_closed_afterwards(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    response = ask(Site(root), request("/big.bin"))
    assert isinstance(response.body, list)
    (part,) = response.body
    assert isinstance(part, FilePart)
    assert (part.offset, part.count) == (0, 300_000)
    assert os.pread(part.descriptor, 10, 0)
    response.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_request_leaves_a_descriptor_open(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "site")
    write(tmp_path / "site" / "about.html.gz", "made before")
    write(tmp_path / "site" / "small.txt.gz" / "x.txt", "a folder")
    site = Site(tmp_path / "site")
    paths = ["/", "/indexed", "/bare/", "/missing", "/small.txt", "/about", "/both", "/big.bin"]
    fields = [
        "",
        "If-None-Match: *",
        'If-Match: "x"',
        "Range: bytes=0-5",
        "Range: bytes=999999-",
        "Accept-Encoding: gzip",
    ]
    before = sorted(os.listdir("/proc/self/fd"))
    for path in paths:
        for field in fields:
            for method in ("GET", "HEAD"):
                response = ask(site, request(path, *([field] if field else []), method=method))
                if response.close is not None:
                    response.close()
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_file_that_shrinks_while_it_is_sent_ends_the_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its length was announced; the client must see that this was not all."""
    size = 64 * 2**20
    path = tmp_path / "big.bin"
    with path.open("wb") as file:
        file.truncate(size)
    with served(Site(tmp_path)) as site:
        with socket.create_connection(("127.0.0.1", site.port), timeout=20) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.sendall(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")
            received = len(client.recv(65536))
            os.truncate(path, 1000)
            with pytest.raises(ConnectionResetError):
                while piece := client.recv(2**20):
                    received += len(piece)
                raise ConnectionResetError  # an early end, without a reset, is noticed as well: by the length
        assert received < size
        assert site.get("/big.bin").body == bytes(1000)  # the server is well


@pytest.mark.parametrize("size", [1000, 100_000])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_log_that_grows_while_it_is_sent(tmp_path: Path, size: int, coding: str) -> None:
    """It is sent as long as it was; and never packed halfway."""
    path = write(tmp_path / "log.txt", "x" * size)
    over = threading.Event()

    def grow() -> None:
        with path.open("a") as file:
            while not over.is_set():
                file.write("x")
                file.flush()

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        with served(Site(tmp_path)) as site:
            for _ in range(20):
                answer = site.ask(b"/log.txt", b"Accept-Encoding: " + coding.encode())
                assert answer.status == 200
                assert len(answer.body) == int(answer.headers["content-length"])
                packed = "content-encoding" in answer.headers
                content = gzip.decompress(answer.body) if packed else answer.body
                assert set(content) == {ord("x")}
                assert len(content) >= size
                # The tag tells the size of the file it was made for.
                assert int(answer.headers["etag"].split("-")[1], 16) == len(content)
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("A.HTML", "text/html; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.json", "application/json; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.svg", "image/svg+xml"),  # XML says its charset itself
        ("a.xml", "application/xml"),
        ("a.wasm", "application/wasm"),
        ("a.webp", "image/webp"),
        ("a.avif", "image/avif"),
        ("a.woff2", "font/woff2"),
        ("a.webmanifest", "application/manifest+json; charset=utf-8"),
        ("a.py", "text/plain; charset=utf-8"),  # to be read in the browser
        ("a.tar.gz", "application/gzip"),  # not a tar with Content-Encoding: it would arrive unpacked
        ("a.html.br", "application/x-brotli"),
        ("README", "text/plain; charset=utf-8"),
        ("a", "application/octet-stream"),
        ("a.", "application/octet-stream"),
        ("a.unheard-of", "application/octet-stream"),
        (".html", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_types(name: str, expected: str) -> None:
    assert content_type(name) == expected


def test_what_packs_well() -> None:
    assert all(
        packs_well(content_type(f"a.{each}")) for each in ("html", "js", "json", "svg", "wasm", "csv", "xml", "ttf")
    )
    assert not any(packs_well(content_type(f"a.{each}")) for each in ("png", "zip", "mp4", "woff2", "gz", "unknown"))


async def listing(request: Request, directory: Opened) -> Response:
    return plain(200, " ".join(sorted(os.listdir(directory.descriptor))))


class Pigeonhole:
    """A writer: it takes what is put into it."""

    methods = frozenset(("PUT",))

    async def __call__(self, request: Request, body: Body) -> Response:
        if request.path == "/full":
            raise HttpError("it is full", status=507)
        return plain(201, f"{request.path}: {(await body.read(100)).decode()}", [("Offset", "5")])


def test_hooks_for_listing_and_writing(root: Path) -> None:
    with served(Site(root, listing=listing, writer=Pigeonhole())) as site:
        answer = site.get("/bare/")
        assert (answer.status, answer.body) == (200, b"inner.txt\n")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert site.get("/indexed/").body == b"indexed"
        assert site.get("/bare/missing/").status == 404
        put = site.get("/x", "-X", "PUT", "-d", "content")
        assert (put.status, put.body) == (201, b"/x: content\n")
        full = site.get("/full", "-X", "PUT", "-d", "content")
        assert (full.status, full.body, full.headers["x-content-type-options"]) == (507, b"it is full\n", "nosniff")
        for query in ("upload=7", "a=b&upload=7"):
            assert site.get("/small.txt").status == 200  # which is then in memory
            assert site.get(f"/small.txt?{query}", "-I").headers["offset"] == "5"
        assert site.get("/small.txt?reupload=7", "-I").status == 200
        refused = site.get("/x", "-X", "DELETE")
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, PUT")


def test_when_descriptors_run_out_the_client_is_told_to_come_again(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(root)
    one = request("/small.txt")
    held = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with asyncio.Runner() as runner:
        runner.get_loop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        try:
            while True:
                try:
                    held.append(os.open("/dev/null", os.O_RDONLY))
                except OSError:
                    break
            answer = runner.run(site(one, NoBody()))  # type: ignore[arg-type]
        finally:
            for each in held:
                os.close(each)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (answer.status, dict(answer.headers)["Retry-After"]) == (503, "2")
    assert "Too many open files" in caplog.text


def test_the_directory_stays_open_until_the_answer_is_closed(root: Path) -> None:
    closed: list[int] = []
    seen: list[int] = []

    async def listing(request: Request, directory: Opened) -> Response:
        seen.append(directory.descriptor)
        return Response(close=lambda: closed.append(os.fstat(directory.descriptor).st_ino))

    response = ask(Site(root, listing=listing), request("/bare/"))
    os.fstat(seen[0])
    response.close()
    assert closed == [os.stat(root / "bare").st_ino]
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(seen[0])


async def upload(request: Request, body: Body) -> Response:
    return plain(200, f"uploaded to {request.path}")


def test_routes(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "f.txt", "a file")
    write(tmp_path / "sub" / "index.html", "sub")
    routes = Routes({"/": Site(root), "/files/": Site(tmp_path), "/files/new": upload, "/upload": upload})
    with served(routes) as site:
        for _ in range(2):
            assert site.get("/").body == b"<h1>home</h1>"
            assert site.get("/small.txt").body == b"small"
            assert site.get("/files/f.txt").body == b"a file"
            assert site.get("/files/sub/").body == b"sub"
        assert site.get("/upload").body == b"uploaded to /upload\n"
        assert site.get("/files/new").body == b"uploaded to /files/new\n"
        assert site.get("/files/small.txt").status == 404
        assert site.get("/upload/x").body == b"<h1>not here</h1>"
        for path, location in (("/files", "files/"), ("/files/sub", "sub/")):
            answer = site.get(path)
            assert (answer.status, answer.headers["location"]) == (301, location)
        for target in (b"/files/../small.txt", b"/files//f.txt", b"/files/%2e%2e/small.txt"):
            assert site.ask(target).status == 404


def test_routes_answer_from_memory_too(tmp_path: Path) -> None:
    old(write(tmp_path / "f.txt", "a file"))
    routes = Routes({"/files/": Site(tmp_path), "/upload": upload})
    one = request("/files/f.txt")
    assert routes.quick(one) is None
    ask(routes, one)
    ready = routes.quick(one)
    assert ready is not None
    assert ready.rest.endswith(b"a file")
    assert routes.quick(request("/upload")) is None
    assert routes.quick(request("/elsewhere")) is None
    assert ask(routes, request("/elsewhere")).status == 404


def test_a_route_begins_with_a_slash() -> None:
    for key in ("files/", "", "//files/"):
        with pytest.raises(UsageError, match="route"):
            Routes({key: upload})
