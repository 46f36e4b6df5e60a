"""A directory as a page and as JSON: what it shows, in which order and language, and that names cannot do anything."""

from __future__ import annotations

import json
import os
import re
import time
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application_support import Folder, folder
from prise.web import thumbnails
from prise.web.entries import Entry, Wish, select
from prise.web.negotiation import language, media_type
from prise.web.page import Page, Reader, human, visible
from site_support import write

HOSTILE = [
    '"><script>alert(1)<\u2215script>.txt',
    "'onmouseover='x'.png",
    "line\nbreak.txt",
    "turn\u202egpj.exe",
    "javascript:alert(1)",
    "&amp;.txt",
    "a b%20c?d#e.txt",
    "ünï.txt",
]


class Seen(HTMLParser):
    """A page as a browser takes it: the links of the table, and every element's name and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.names: list[str] = []
        self._in_name = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in_name = tag == "bdi"
        if self._in_name:
            self.names.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "bdi":
            self._in_name = False

    def handle_data(self, data: str) -> None:
        if self._in_name:
            self.names[-1] += data

    def links(self) -> list[str]:
        return [attributes["href"] or "" for tag, attributes in self.elements if tag == "a"]


def rows(html: str) -> list[str]:
    return Seen(html[html.index("<tbody>") : html.index("</tbody>")]).names


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "file10.txt", "x" * 10)
    write(tmp_path / "file2.txt", "x" * 2000)
    write(tmp_path / "Zoo" / "inner.txt", "in")
    write(tmp_path / "apple" / "inner.txt", "in")
    write(tmp_path / ".secret", "no")
    os.utime(tmp_path / "file2.txt", (1_700_000_000, 1_700_000_000))
    return tmp_path


def test_directories_come_first_and_numbers_count_as_numbers(root: Path) -> None:
    with folder(root) as served:
        page = served.ask("/")
        assert page.status == 200
        assert rows(page.text) == ["apple", "Zoo", "file2.txt", "file10.txt"]
        assert rows(served.ask("/?sort=name&order=desc").text) == ["Zoo", "apple", "file10.txt", "file2.txt"]
        assert rows(served.ask("/?sort=size&order=desc").text)[2:] == ["file2.txt", "file10.txt"]
        assert rows(served.ask("/?sort=date").text)[2:] == ["file2.txt", "file10.txt"]
        assert 'class="size" aria-sort="descending"' in served.ask("/?sort=size&order=desc").text
        assert rows(served.ask("/?filter=FILE1").text) == ["file10.txt"]
        assert rows(served.ask("/?sort=nonsense&page=zero").text) == rows(page.text)


def test_the_page_needs_nothing_from_elsewhere_and_no_script(root: Path) -> None:
    with folder(root) as served:
        page = served.ask("/")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        seen = Seen(page.text)
        assert not [
            each for each in seen.elements if "style" in each[1] or any(name.startswith("on") for name in each[1])
        ]
        for tag, attributes in seen.elements:
            if tag in ("link", "script"):
                source = attributes.get("href") or attributes.get("src") or ""
                assert source.startswith("/.prise/")
                asset = served.ask(source)
                assert asset.status == 200
                assert "immutable" in asset.headers["cache-control"]
                assert served.ask(source, headers={"If-None-Match": asset.headers["etag"]}).status == 304
        assert served.ask("/.prise/../secret").status == 404
        assert served.ask("/.prise/__init__.py").status == 404


def test_breadcrumbs_lead_up_and_sizes_and_dates_are_readable(root: Path) -> None:
    with folder(root) as served:
        page = served.ask("/Zoo/").text
        assert "../" in Seen(page).links()
        page = served.ask("/").text
        assert '<time datetime="2023-11-14T22:13:20Z">2023-11-14 22:13</time>' in page
        assert '<data value="2000">2.0 KiB</data>' in page


def test_french_and_english(root: Path) -> None:
    with folder(root) as served:
        french = served.ask("/", headers={"Accept-Language": "fr-CH, fr;q=0.9, en;q=0.5"})
        assert french.headers["content-language"] == "fr"
        assert '<html lang="fr">' in french.text
        assert "accept-language" in french.headers["vary"].lower()
        assert served.ask("/", headers={"Accept-Language": "de"}).headers["content-language"] == "en"
    assert language("", ("en", "fr")) == "en"
    assert language("fr;q=0, en", ("en", "fr")) == "en"
    assert language("*, fr", ("en", "fr")) == "en"
    assert human(1_500_000, "fr").startswith("1,4")
    assert human(1_500_000, "en") == "1.4 MiB"


def test_json_for_programs(root: Path) -> None:
    with folder(root) as served:
        answer = served.ask("/", headers={"Accept": "application/json"})
        assert answer.headers["content-type"] == "application/json"
        entries: list[dict[str, Any]] = json.loads(answer.body)
        assert [(each["name"], each["type"]) for each in entries] == [
            ("apple", "directory"),
            ("Zoo", "directory"),
            ("file2.txt", "file"),
            ("file10.txt", "file"),
        ]
        assert entries[2] == {
            "name": "file2.txt",
            "type": "file",
            "size": 2000,
            "modified": "2023-11-14T22:13:20Z",
            "url": "./file2.txt",
            "media_type": "text/plain; charset=utf-8",
        }
        assert json.loads(served.ask("/?format=json&filter=zzz").body) == []
        assert (
            served.ask("/", headers={"Accept": "text/html, */*;q=0.8"}).headers["content-type"].startswith("text/html")
        )
    assert media_type("", ("text/html", "application/json")) == "text/html"
    assert media_type("application/*;q=0.9, text/html;q=0.1", ("text/html", "application/json")) == "application/json"


def test_names_are_only_ever_names(tmp_path: Path) -> None:
    for name in HOSTILE:
        write(tmp_path / name, name)
    write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.txt")), "bytes")
    with folder(tmp_path) as served:
        page = served.ask("/").text
        seen = Seen(page)
        assert [tag for tag, _ in seen.elements if tag == "script"] == ["script"]  # our own
        assert "\u202e" not in page
        links = [link for link in seen.links() if link.startswith("./")]
        assert len(links) == len(HOSTILE)
        for link in links:
            answer = served.ask(link[1:])
            assert answer.status == 200
            assert answer.text in HOSTILE
        assert "bad\\xff.txt" in rows(page)
        unreachable = [each for each in json.loads(served.ask("/?format=json").body) if each["url"] is None]
        assert [each["name"] for each in unreachable] == ["bad?.txt"]


@given(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=[]), min_size=1), max_size=5))
def test_no_name_makes_an_element(names: list[str]) -> None:
    entries = [Entry(name, False, 1, 1.0, reachable=name.isprintable()) for name in names]
    page = Page((), names[0] if names else "root", entries, len(entries), wish=Wish(filter="".join(names)[:200]))
    plain = Page((), "root", [Entry("a", False, 1, 1.0) for _ in names], len(names), wish=Wish(filter="a"))
    reader = Reader(archives=False)
    html = page.html(reader)
    html.encode()

    def shape(text: str) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in Seen(text).elements if tag not in ("a", "span", "img")]

    assert shape(html) == shape(plain.html(reader))


def test_what_cannot_be_seen_is_shown_as_its_number() -> None:
    assert visible("a\x1bb") == "a\\x1bb"
    assert visible("a\u202eb<") == "a\\u202eb&lt;"
    assert visible(os.fsdecode(b"\xe9")) == "\\xe9"


def test_pages_of_a_thousand(tmp_path: Path) -> None:
    for number in range(2500):
        (tmp_path / f"f{number}").touch()
    with folder(tmp_path) as served:
        first = served.ask("/").text
        assert rows(first) == [f"f{number}" for number in range(1000)]
        after = re.search(r'rel="next" href="([^"]+)"', first)
        assert after is not None
        assert rows(served.ask("/" + after[1].replace("&amp;", "&")).text) == [
            f"f{number}" for number in range(1000, 2000)
        ]
        assert rows(served.ask("/?page=3").text) == [f"f{number}" for number in range(2000, 2500)]
        assert rows(served.ask("/?page=9").text) == []
        assert len(json.loads(served.ask("/?format=json").body)) == 2500
        assert len(json.loads(served.ask("/?format=json&page=3").body)) == 500


def test_sorting_a_hundred_thousand_takes_a_moment() -> None:
    entries = [Entry(f"name {number % 977} of {number}", False, number, number) for number in range(100_000)]
    began = time.process_time()
    assert len(select(entries, Wish("size", True, "name"))) == 100_000
    assert time.process_time() - began < 10


def test_links_are_shown_as_what_they_lead_to(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root / "inside" / "a.txt", "abc")
    write(tmp_path / "outside.txt", "no")
    (root / "to-folder").symlink_to("inside")
    (root / "to-file").symlink_to("inside/a.txt")
    (root / "to-outside").symlink_to(tmp_path / "outside.txt")
    (root / "to-nothing").symlink_to("nothing")
    os.mkfifo(root / "pipe")
    with folder(root) as served:
        entries = json.loads(served.ask("/?format=json").body)
        assert [(each["name"], each["type"], each["size"]) for each in entries] == [
            ("inside", "directory", None),
            ("to-folder", "directory", None),
            ("to-file", "file", 3),
        ]


def test_a_readme_is_shown_below_and_cannot_run_anything(tmp_path: Path) -> None:
    write(
        tmp_path / "README.md",
        "# Title\n\n*stress* <script>alert(1)</script> [bad](javascript:alert(1)) [good](file.txt)\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n",
    )
    write(tmp_path / "text" / "readme.txt", "<b>plain</b>")
    with folder(tmp_path) as served:
        page = served.ask("/").text
        assert "<h2>Title</h2>" in page
        assert "<em>stress</em>" in page
        assert "<td>1</td>" in page
        assert "&lt;script&gt;alert(1)" in page
        assert not [link for link in Seen(page).links() if link.startswith("javascript")]
        assert "file.txt" in Seen(page).links()
        assert "<pre>&lt;b&gt;plain&lt;/b&gt;</pre>" in served.ask("/text/").text
        # What changed is shown at once.
        write(tmp_path / "README.md", "other")
        assert "<p>other</p>" in served.ask("/").text


def test_pictures_have_thumbnails(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (2000, 1000), "red").save(tmp_path / "red.jpg")
    image.new("RGBA", (600, 600), (0, 0, 255, 100)).save(tmp_path / "blue.png")
    write(tmp_path / "broken.png", b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    write(tmp_path / "drawing.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert thumbnails.available()
    with folder(tmp_path) as served:
        page = Seen(served.ask("/").text)
        sources = {attributes["src"]: attributes for tag, attributes in page.elements if tag == "img"}
        assert set(sources) == {"./red.jpg?thumb=1", "./blue.png?thumb=1", "./broken.png?thumb=1", "./drawing.svg"}
        assert all(attributes["loading"] == "lazy" for attributes in sources.values())
        small = served.ask("/red.jpg?thumb=1")
        assert small.headers["content-type"] == "image/jpeg"
        assert image.open(BytesIO(small.body)).size == (320, 160)
        assert served.ask("/red.jpg?thumb=1", headers={"If-None-Match": small.headers["etag"]}).status == 304
        assert served.ask("/red.jpg?thumb=1").body == small.body
        assert served.ask("/blue.png?thumb=1").headers["content-type"] == "image/webp"
        assert served.ask("/broken.png?thumb=1").status == 404
        assert served.ask("/missing.png?thumb=1").status == 404


def test_a_picture_that_unpacks_to_gigabytes_has_no_thumbnail(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("1", (8000, 8000)).save(tmp_path / "bomb.png")  # 64 million pixels in a few KiB
    assert (tmp_path / "bomb.png").stat().st_size < 100_000
    with folder(tmp_path) as served:
        assert served.ask("/bomb.png?thumb=1").status == 404


def test_a_listing_can_be_left_out(root: Path) -> None:
    with folder(root, listing=False) as served:
        assert served.ask("/Zoo/").status == 404
    with folder(root, archives=False) as served:
        assert "download=" not in served.ask("/").text
        assert served.ask("/?download=zip").status == 404


def test_forms_are_shown_to_who_may_use_them(root: Path) -> None:
    def has(served: Folder, what: str, **headers: str) -> bool:
        return what in served.ask("/", headers=headers).text

    with folder(root) as served:
        assert not has(served, 'type="file"')
    with folder(root, allow="upload") as served:
        assert has(served, 'type="file"')
        assert not has(served, "?mkdir")
    with folder(root, allow="write") as served:
        assert has(served, "?mkdir")
