"""Coded forms: who gets which, made before or on the fly, and that caches between are told (Vary)."""

from __future__ import annotations

import asyncio
import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prise.web.cache import settled
from prise.web.compression import LEAST, MOST, Packer, accepted
from prise.web.site import Site
from site_support import served, write

TEXT = "a page that repeats itself. " * 200
ZSTD = "zstd" in Packer().codings


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", ()),
        ("identity", ()),
        ("gzip", ("gzip",)),
        ("x-gzip", ("gzip",)),
        ("GZIP", ("gzip",)),
        ("deflate", ()),
        ("gzip, deflate, br, zstd", ("br", "zstd", "gzip")),  # a browser: ours to choose
        ("*", ("br", "zstd", "gzip")),
        ("gzip;q=1.0, br;q=0.5", ("gzip", "br")),
        ("br;q=0, gzip", ("gzip",)),
        ("*;q=0, gzip;q=0.1", ("gzip",)),
        ("gzip;q=0", ()),
        ("*, gzip;q=0", ("br", "zstd")),
        ("identity;q=1, gzip;q=0.5", ()),  # plain is liked better
        ("identity;q=0.5, gzip;q=1", ("gzip",)),
        ("identity;q=0", ()),  # nothing of ours is named: plain all the same
        ("gzip;q=2", ()),
        ("gzip;q=-1", ()),
        ("gzip;q=nan", ()),
        ("gzip ; Q=0.333", ("gzip",)),
        ("gzip;level=9, br", ("br",)),  # what is not well formed is left out
        (",, ,gzip,", ("gzip",)),
    ],
)
def test_what_a_field_accepts(field: str, expected: tuple[str, ...]) -> None:
    assert accepted(field) == expected


@given(st.text(max_size=80))
def test_any_text_is_read_without_an_error(field: str) -> None:
    assert set(accepted(field)) <= {"br", "zstd", "gzip"}


def test_text_is_packed_on_the_fly(tmp_path: Path) -> None:
    write(tmp_path / "page.html", TEXT)
    with served(Site(tmp_path)) as site:
        plain = site.get("/page.html")
        for _ in range(2):
            packed = site.get("/page.html", "-H", "Accept-Encoding: gzip")
            assert packed.headers["content-encoding"] == "gzip"
            assert gzip.decompress(packed.body).decode() == TEXT
            assert len(packed.body) == int(packed.headers["content-length"]) < len(TEXT) / 5
            assert packed.headers["content-type"] == plain.headers["content-type"] == "text/html; charset=utf-8"
        assert site.get("/page.html", "-I", "-H", "Accept-Encoding: gzip").headers.items() >= {
            (name, value) for name, value in packed.headers.items() if name != "date"
        }
        assert plain.headers["etag"] != packed.headers["etag"]
        assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
        assert site.get("/page.html", "--compressed").headers["vary"] == "Accept-Encoding"
        again = site.get("/page.html", "-H", "Accept-Encoding: gzip", "-H", f"If-None-Match: {packed.headers['etag']}")
        assert (again.status, again.headers["vary"]) == (304, "Accept-Encoding")
        # The client has the plain form, and would get the packed one.
        other = site.get("/page.html", "-H", "Accept-Encoding: gzip", "-H", f"If-None-Match: {plain.headers['etag']}")
        assert other.status == 200


def test_a_part_of_it_is_a_part_of_the_plain_form(tmp_path: Path) -> None:
    write(tmp_path / "page.html", TEXT)
    with served(Site(tmp_path)) as site:
        packed = site.get("/page.html", "-H", "Accept-Encoding: gzip")
        assert "accept-ranges" not in packed.headers
        part = site.get("/page.html", "-H", "Accept-Encoding: gzip", "-r", "2-5")
        assert (part.status, part.body) == (206, TEXT[2:6].encode())
        assert "content-encoding" not in part.headers
        assert part.headers["vary"] == "Accept-Encoding"
        # Who has half of the packed form must not get a piece of the other one for it.
        rest = site.get(
            "/page.html", "-H", "Accept-Encoding: gzip", "-r", "2-5", "-H", f"If-Range: {packed.headers['etag']}"
        )
        assert (rest.status, rest.body) == (200, TEXT.encode())


@pytest.mark.parametrize(
    ("name", "size", "packs"),
    [
        ("page.html", LEAST, True),
        ("page.html", LEAST - 1, False),
        ("data.json", 5000, True),
        ("picture.svg", 5000, True),
        ("program.wasm", 5000, True),
        ("picture.png", 5000, False),
        ("film.mp4", 5000, False),
        ("archive.zip", 5000, False),
        ("unknown", 5000, False),
        ("page.txt", MOST, True),
        ("page.txt", MOST + 1, False),
    ],
)
def test_what_is_packed(tmp_path: Path, name: str, size: int, packs: bool) -> None:
    write(tmp_path / name, b"x" * size)
    with served(Site(tmp_path)) as site:
        answer = site.get(f"/{name}", "-H", "Accept-Encoding: gzip")
        assert ("content-encoding" in answer.headers) is packs
        assert (gzip.decompress(answer.body) if packs else answer.body) == b"x" * size


@pytest.mark.skipif(not ZSTD, reason="neither compression.zstd nor the package zstandard is here")
def test_zstd_where_it_is_installed(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    write(tmp_path / "page.html", TEXT)
    with served(Site(tmp_path)) as site:
        answer = site.get("/page.html", "-H", "Accept-Encoding: gzip, br, zstd")
        assert answer.headers["content-encoding"] == "zstd"
        assert zstandard.ZstdDecompressor().decompress(answer.body).decode() == TEXT


def beside(path: Path, ending: str, content: bytes, *, age: float = 0) -> None:
    """A form of the file, so many seconds older than it."""
    form = write(path.with_name(path.name + ending), content)
    changed = path.stat().st_mtime_ns - int(age * 1e9)
    os.utime(form, ns=(changed, changed))


def test_forms_made_before_are_sent(tmp_path: Path) -> None:
    page = write(tmp_path / "page.html", TEXT)
    for ending in (".br", ".zst", ".gz"):
        beside(page, ending, b"made before: " + ending.encode())
    with served(Site(tmp_path)) as site:
        for field, coding in (("gzip, br, zstd", "br"), ("zstd, gzip", "zstd"), ("gzip", "gzip")):
            for _ in range(2):
                answer = site.get("/page.html", "-H", f"Accept-Encoding: {field}")
                assert answer.headers["content-encoding"] == coding
                assert answer.body.startswith(b"made before: ")
                assert answer.headers["content-type"] == "text/html; charset=utf-8"
                assert answer.headers["vary"] == "Accept-Encoding"
                assert answer.headers["accept-ranges"] == "bytes"
        tags = {
            site.get("/page.html", "-H", f"Accept-Encoding: {field}").headers["etag"] for field in ("br", "gzip", "")
        }
        assert len(tags) == 3
        part = site.get("/page.html", "-H", "Accept-Encoding: br", "-r", "0-3")
        assert (part.status, part.body, part.headers["content-encoding"]) == (206, b"made", "br")
        assert site.get("/page.html").body == TEXT.encode()
        # Asked for by its own name it is a file like others.
        direct = site.get("/page.html.gz", "-H", "Accept-Encoding: gzip")
        assert direct.headers["content-type"] == "application/gzip"
        assert "content-encoding" not in direct.headers


def test_a_form_that_is_older_than_the_file_does_not_count(tmp_path: Path) -> None:
    page = write(tmp_path / "page.html", TEXT)
    beside(page, ".br", b"old", age=10)
    with served(Site(tmp_path)) as site:
        assert "content-encoding" not in site.get("/page.html", "-H", "Accept-Encoding: br").headers


def test_an_edited_file_is_seen_behind_its_older_form(tmp_path: Path) -> None:
    page = write(tmp_path / "page.html", TEXT)
    beside(page, ".br", b"of the first edition")
    with served(Site(tmp_path)) as site:
        for _ in range(3):
            assert site.get("/page.html", "-H", "Accept-Encoding: br").body == b"of the first edition"
        changed = page.stat().st_mtime_ns + 10**9
        write(page, "second edition")
        os.utime(page, ns=(changed, changed))
        assert site.get("/page.html", "-H", "Accept-Encoding: br").body == b"second edition"


def test_a_form_that_goes_away_is_seen_though_it_is_in_memory(tmp_path: Path) -> None:
    page = write(tmp_path / "page.html", TEXT)
    beside(page, ".br", b"made before")
    form = tmp_path / "page.html.br"
    while not settled(os.stat(form)):
        pass
    hot = Site(tmp_path)
    with served(hot) as site:
        for _ in range(2):
            assert site.get("/page.html", "-H", "Accept-Encoding: br").body == b"made before"
        assert hot.hot.size
        form.unlink()
        assert site.get("/page.html", "-H", "Accept-Encoding: br").body == TEXT.encode()


def test_a_form_may_not_lead_outside(tmp_path: Path) -> None:
    page = write(tmp_path / "root" / "page.html", TEXT)
    write(tmp_path / "secret", b"secret")
    (tmp_path / "root" / "page.html.br").symlink_to("../secret")
    (tmp_path / "root" / "page.html.gz").mkdir()
    with served(Site(page.parent)) as site:
        assert site.get("/page.html", "-H", "Accept-Encoding: br").body == TEXT.encode()
        assert gzip.decompress(site.get("/page.html", "-H", "Accept-Encoding: gzip").body) == TEXT.encode()


def test_without_compression(tmp_path: Path) -> None:
    page = write(tmp_path / "page.html", TEXT)
    beside(page, ".gz", b"made before")
    with served(Site(tmp_path, compress=False, precompressed=False)) as site:
        answer = site.get("/page.html", "-H", "Accept-Encoding: gzip")
        assert answer.body == TEXT.encode()
        assert "vary" not in answer.headers
    write(tmp_path / "picture.png", b"x")
    with served(Site(tmp_path)) as site:
        assert "vary" not in site.get("/picture.png", "-H", "Accept-Encoding: gzip").headers


def test_a_file_is_packed_once_for_all_who_wait_and_remembered_within_bounds() -> None:
    made: list[str] = []

    def read(name: str, size: int) -> bytes:
        made.append(name)
        return os.urandom(size)  # does not get smaller

    async def main() -> None:
        packer = Packer(10_000)
        together = [packer.pack("a", "gzip", lambda: read("a", 4000)) for _ in range(20)]
        assert len(set(await asyncio.gather(*together))) == 1
        await packer.pack("b", "gzip", lambda: read("b", 4000))
        await packer.pack("a", "gzip", lambda: read("a", 4000))
        assert made == ["a", "b"]
        await packer.pack("c", "gzip", lambda: read("c", 4000))  # too many bytes: b has waited longest
        await packer.pack("a", "gzip", lambda: read("a", 4000))
        await packer.pack("b", "gzip", lambda: read("b", 4000))
        assert made == ["a", "b", "c", "b"]
        await packer.pack("d", "gzip", lambda: read("d", 20_000))  # larger than all there is
        await packer.pack("d", "gzip", lambda: read("d", 20_000))
        assert made == ["a", "b", "c", "b", "d", "d"]

    asyncio.run(main())


def test_one_who_goes_away_does_not_take_it_from_the_others() -> None:
    async def main() -> None:
        packer = Packer()
        first = asyncio.create_task(packer.pack("a", "gzip", lambda: b"content"))
        second = asyncio.create_task(packer.pack("a", "gzip", lambda: b"never asked"))
        await asyncio.sleep(0)
        first.cancel()
        assert gzip.decompress(await second) == b"content"

    asyncio.run(main())


def test_what_cannot_be_read_is_an_error_for_each_who_waits_and_tried_again_later() -> None:
    def broken() -> bytes:
        raise OSError("the disk")

    async def main() -> None:
        packer = Packer()
        outcomes = await asyncio.gather(*(packer.pack("a", "gzip", broken) for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in outcomes] == [OSError] * 3
        assert gzip.decompress(await packer.pack("a", "gzip", lambda: b"mended")) == b"mended"

    asyncio.run(main())
