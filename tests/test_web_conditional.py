"""Has the client got it already? RFC 9110 §13, as a table and as curl sees it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prise.web.conditional import entity_tag, evaluate, http_date, matches, parse_date, range_applies
from prise.web.site import Site
from site_support import Served, served, write

TAG = '"tag"'
CHANGED = 784111777.5  # half a second after the date that RFC 9110 shows
SAME = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"


@pytest.mark.parametrize(
    "text", [SAME, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"], ids=["IMF", "RFC 850", "asctime"]
)
def test_the_three_forms_of_a_date(text: str) -> None:
    assert parse_date(text) == 784111777


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "784111777",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 +0100",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
        f"{SAME}, {SAME}",
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert parse_date(text) is None


@given(st.integers(0, 253402300799))
def test_a_date_that_is_sent_is_understood(seconds: int) -> None:
    assert parse_date(http_date(seconds)) == seconds


@pytest.mark.parametrize(
    ("field", "weakly", "strongly"),
    [
        ('"tag"', True, True),
        ('W/"tag"', True, False),
        ("*", True, True),
        ('"other"', False, False),
        ('"other", "tag"', True, True),
        (' ,, "other" ,"tag",', True, True),
        ("tag", False, False),  # a tag has its quotes
        ('"tag', False, False),
        ('w/"tag"', False, False),
        ('"tag" "other"', False, False),
        ('"tag", *', False, False),
        ('"TAG"', False, False),
        ('"other,tag"', False, False),
        ("", False, False),
    ],
)
def test_tags_are_compared_weakly_or_strongly(field: str, weakly: bool, strongly: bool) -> None:
    assert matches(field, TAG, weakly=True) is weakly
    assert matches(field, TAG, weakly=False) is strongly


def test_a_very_long_list_of_tags_takes_no_long_time() -> None:
    assert matches('"a", ' * 100_000 + TAG, TAG, weakly=True)
    assert not matches('"' * 500_000, TAG, weakly=True)
    assert not matches(" ," * 250_000 + "x", TAG, weakly=True)


@pytest.mark.parametrize(
    ("headers", "get", "put"),
    [
        ({}, None, None),
        ({"if-match": TAG}, None, None),
        ({"if-match": "*"}, None, None),
        ({"if-match": '"other"'}, 412, 412),
        ({"if-match": f"W/{TAG}"}, 412, 412),
        ({"if-unmodified-since": SAME}, None, None),
        ({"if-unmodified-since": BEFORE}, 412, 412),
        ({"if-unmodified-since": "rubbish"}, None, None),
        ({"if-match": TAG, "if-unmodified-since": BEFORE}, None, None),  # the date counts only without the tag
        ({"if-none-match": TAG}, 304, 412),
        ({"if-none-match": f"W/{TAG}"}, 304, 412),
        ({"if-none-match": "*"}, 304, 412),
        ({"if-none-match": '"other"'}, None, None),
        ({"if-modified-since": SAME}, 304, None),
        ({"if-modified-since": AFTER}, 304, None),
        ({"if-modified-since": BEFORE}, None, None),
        ({"if-modified-since": "rubbish"}, None, None),
        ({"if-none-match": '"other"', "if-modified-since": AFTER}, None, None),  # the tag wins, either way
        ({"if-none-match": TAG, "if-modified-since": BEFORE}, 304, 412),
        ({"if-match": '"other"', "if-none-match": TAG}, 412, 412),  # 412 is asked before 304
        ({"if-unmodified-since": BEFORE, "if-none-match": TAG}, 412, 412),
        ({"if-match": TAG, "if-none-match": TAG}, 304, 412),
    ],
)
def test_the_order_of_the_conditions(headers: dict[str, str], get: int | None, put: int | None) -> None:
    assert evaluate(headers, "GET", TAG, CHANGED) == get
    assert evaluate(headers, "HEAD", TAG, CHANGED) == get
    assert evaluate(headers, "PUT", TAG, CHANGED) == put


def test_where_nothing_is_yet() -> None:
    """A PUT may insist on making a new file, or on changing one."""
    assert evaluate({"if-none-match": "*"}, "PUT", None, None) is None
    assert evaluate({"if-match": "*"}, "PUT", None, None) == 412
    assert evaluate({"if-unmodified-since": BEFORE}, "PUT", None, None) is None


def test_if_range() -> None:
    assert range_applies({}, TAG, CHANGED)
    assert range_applies({"if-range": TAG}, TAG, CHANGED)
    assert not range_applies({"if-range": f"W/{TAG}"}, f"W/{TAG}", CHANGED)
    assert range_applies({"if-range": SAME}, TAG, CHANGED)
    assert not range_applies({"if-range": AFTER}, TAG, CHANGED)
    assert not range_applies({"if-range": "rubbish"}, TAG, CHANGED)


def test_a_tag_is_another_for_another_content_or_form(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "one")
    first = os.stat(path)
    assert entity_tag(first) == entity_tag(os.stat(path))
    assert entity_tag(first) != entity_tag(first, "gzip")
    write(tmp_path / "b.txt", "two").replace(path)
    assert entity_tag(os.stat(path)) != entity_tag(first)


@given(st.text(max_size=50))
def test_any_text_is_read_without_an_error(text: str) -> None:
    for name in ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"):
        evaluate({name: text}, "GET", TAG, CHANGED)
    range_applies({"if-range": text}, TAG, CHANGED)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("conditional")
    for name in ("small.txt", "big.bin"):
        write(root / name, "x" * (200_000 if name == "big.bin" else 20))
        os.utime(root / name, (CHANGED, CHANGED))
    write(root / "future.txt", "x")
    os.utime(root / "future.txt", (4102444800, 4102444800))
    with served(Site(root)) as running:
        yield running


@pytest.mark.parametrize("name", ["/small.txt", "/big.bin"])
def test_304_to_curl(site: Served, name: str) -> None:
    whole = site.get(name)
    tag = whole.headers["etag"]
    assert whole.headers["last-modified"] == SAME
    for arguments in (["-H", f"If-None-Match: {tag}"], ["-z", SAME], ["-I", "-z", SAME]):
        for _ in range(2):  # the second time from memory
            answer = site.get(name, *arguments)
            assert answer.status == 304
            assert answer.body == b""
            assert answer.headers["etag"] == tag
            assert answer.headers["cache-control"] == "no-cache"
            assert answer.headers.get("vary") == whole.headers.get("vary")
            assert "content-length" not in answer.headers
    assert site.get(name, "-H", f"If-None-Match: {tag}", "-z", BEFORE).status == 304
    assert site.get(name, "-H", 'If-None-Match: "x"', "-z", AFTER).status == 200
    assert site.get(name, "-H", 'If-Match: "x"').status == 412
    assert site.get(name, "-H", f"If-Match: {tag}").status == 200
    assert site.get(name, "-H", f"If-Unmodified-Since: {BEFORE}").status == 412
    assert site.get(name, "-H", f"If-None-Match: {tag}", "-r", "0-5").status == 304


def test_a_file_from_the_future_is_from_now(site: Served) -> None:
    answer = site.get("/future.txt")
    assert parse_date(answer.headers["last-modified"]) <= parse_date(answer.headers["date"])  # type: ignore[operator]
