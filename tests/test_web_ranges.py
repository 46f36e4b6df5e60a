"""Parts of a file: what a Range field asks for, and that exactly these bytes arrive."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prise.web.ranges import GAP, MOST_RANGES, Range, parse
from prise.web.site import Site
from site_support import Served, served, write

TEXT = bytes(range(256)) * 400  # 102,400 bytes, each place known


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes=0-9", [(0, 10)]),
        ("bytes=90-", [(90, 100)]),
        ("bytes=-5", [(95, 100)]),
        ("bytes=-500", [(0, 100)]),  # a suffix longer than the whole is the whole
        ("bytes=90-5000", [(90, 100)]),
        ("bytes=0-0", [(0, 1)]),
        ("Bytes=0-0", [(0, 1)]),  # units are case-insensitive (RFC 9110 §14.1)
        ("bytes= 0-0 , ,5-6 ", [(0, 7)]),  # empty elements of a list do not count (§5.6.1.2)
        ("bytes=0-0,99-99", [(0, 100)]),  # nearer than the head of a part is long
        ("bytes=100-", []),
        ("bytes=-0", []),
        ("bytes=100-200,300-", []),
        ("bytes=100-200,5-6", [(5, 7)]),  # what exists is sent
        ("bytes=9-0", None),
        ("bytes=", None),
        ("bytes=,", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=0x1-5", None),
        ("bytes=+1-5", None),
        ("bytes=1-5-7", None),
        ("bytes=0-1;2-3", None),
        ("bytes=٠-٩", None),
        ("bytes 0-9", None),
        ("lines=0-9", None),
        ("bytes=" + "9" * 21 + "-", None),
        ("bytes=0-99,0-99", None),  # more than there is: the whole is less work
        ("bytes=" + ",".join(["1-2"] * (MOST_RANGES + 1)), None),
        ("bytes=0-" * 100_000, None),
    ],
)
def test_what_a_field_asks_of_100_bytes(field: str, expected: list[tuple[int, int]] | None) -> None:
    assert parse(field, 100) == expected


def test_of_an_empty_file_a_suffix_is_all_of_it_and_a_place_does_not_exist() -> None:
    assert parse("bytes=-5", 0) is None
    assert parse("bytes=0-", 0) == []


def test_ranges_that_overlap_or_nearly_touch_become_one_at_the_place_of_the_first() -> None:
    assert parse("bytes=5000-5009,0-9,5010-5019,15-20", 10_000) == [Range(5000, 5020), Range(0, 21)]
    assert parse(f"bytes=0-9,{10 + GAP}-200", 10_000) == [Range(0, 201)]
    assert parse(f"bytes=0-9,{11 + GAP}-200", 10_000) == [Range(0, 10), Range(11 + GAP, 201)]


SPECS = st.one_of(
    st.tuples(st.integers(0, 3000), st.integers(0, 3000)).map(lambda pair: f"{min(pair)}-{max(pair)}"),
    st.integers(0, 3000).map(lambda first: f"{first}-"),
    st.integers(0, 3000).map(lambda suffix: f"-{suffix}"),
)


@given(st.lists(SPECS, min_size=1, max_size=12), st.integers(0, 2500))
def test_every_byte_that_was_asked_for_is_in_exactly_one_range(specs: list[str], size: int) -> None:
    found = parse(f"bytes={','.join(specs)}", size)
    wanted: set[int] = set()
    asked = 0
    for spec in specs:
        first, _, last = spec.partition("-")
        each = range(size)[int(first) : int(last) + 1 if last else None] if first else range(size)[-int(last) or size :]
        wanted |= set(each)
        asked += len(each)
    if found is None:
        assert asked > size or size == 0
        return
    places = [place for start, stop in found for place in range(start, stop)]
    assert len(places) == len(set(places))
    assert wanted <= set(places)
    assert all(0 <= start < stop <= size for start, stop in found)
    ordered = sorted(found)
    assert all(after.start - before.stop > GAP for before, after in itertools.pairwise(ordered))


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: "bytes=" + raw.decode("latin-1")))
def test_any_text_is_read_without_an_error(field: str) -> None:
    parse(field, 1000)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("ranges")
    write(root / "big.bin", TEXT)
    write(root / "small.txt", "0123456789")
    write(root / "empty.txt", "")
    with served(Site(root)) as running:
        yield running


@pytest.mark.parametrize("name", ["big.bin", "small.txt"])
@pytest.mark.parametrize(("field", "places"), [("0-4", slice(0, 5)), ("-3", slice(-3, None)), ("7-", slice(7, None))])
def test_a_single_range(site: Served, name: str, field: str, places: slice) -> None:
    whole = site.get(f"/{name}")
    part = site.get(f"/{name}", "-r", field)
    assert part.status == 206
    assert part.body == whole.body[places]
    start, stop, _ = places.indices(len(whole.body))
    assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(whole.body)}"
    assert part.headers["content-length"] == str(stop - start)
    for name_of_field in ("etag", "last-modified", "cache-control", "content-type", "x-content-type-options"):
        assert part.headers[name_of_field] == whole.headers[name_of_field]


def test_several_ranges_come_as_multipart(site: Served) -> None:
    part = site.get("/big.bin", "-r", "0-9,50000-50004,-5")
    assert part.status == 206
    assert "content-range" not in part.headers
    kind, _, boundary = part.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    assert len(part.body) == int(part.headers["content-length"])
    before, *parts, after = part.body.split(f"\r\n--{boundary}".encode())
    assert (before, after) == (b"", b"--\r\n")
    for content, (start, stop) in zip(parts, ((0, 10), (50000, 50005), (102395, 102400)), strict=True):
        head, _, body = content.partition(b"\r\n\r\n")
        assert f"Content-Range: bytes {start}-{stop - 1}/{len(TEXT)}".encode() in head.split(b"\r\n")
        assert b"Content-Type: application/octet-stream" in head.split(b"\r\n")
        assert body == TEXT[start:stop]


def test_what_does_not_exist_is_416_with_the_size(site: Served) -> None:
    for field in ("102400-", "500000-600000", "-0"):
        refused = site.get("/big.bin", "-r", field)
        assert refused.status == 416
        assert refused.headers["content-range"] == "bytes */102400"
    assert site.get("/empty.txt", "-r", "0-").status == 416
    assert site.get("/empty.txt", "-r", "-5").status == 200


def test_what_is_not_understood_is_answered_with_the_whole(site: Served) -> None:
    for field in ("bytes=9-0", "lines=0-5", "bytes=x"):
        answer = site.get("/small.txt", "-H", f"Range: {field}")
        assert (answer.status, answer.body) == (200, b"0123456789")


def test_a_range_counts_for_get_alone(site: Served) -> None:
    answer = site.get("/small.txt", "-I", "-H", "Range: bytes=0-4")
    assert answer.status == 200
    assert answer.headers["content-length"] == "10"


def test_if_range(site: Served) -> None:
    whole = site.get("/big.bin")
    tag, changed = whole.headers["etag"], whole.headers["last-modified"]
    expected = [(tag, 206), (changed, 206), ('"other"', 200), (f"W/{tag}", 200), ("Sun, 06 Nov 1994 08:49:37 GMT", 200)]
    for value, status in [*expected, ("rubbish", 200)]:
        answer = site.get("/big.bin", "-r", "0-9", "-H", f"If-Range: {value}")
        assert answer.status == status, value
        assert len(answer.body) == (10 if status == 206 else len(TEXT))


def test_a_file_that_was_changed_since_is_not_patched_together(site: Served, tmp_path: Path) -> None:
    with served(Site(tmp_path)) as running:
        write(tmp_path / "a.bin", b"a" * 1000)
        first = running.get("/a.bin", "-r", "0-499")
        write(tmp_path / "new.bin", b"b" * 1000).replace(tmp_path / "a.bin")
        second = running.get("/a.bin", "-r", "500-", "-H", f"If-Range: {first.headers['etag']}")
        assert (second.status, second.body) == (200, b"b" * 1000)


def test_a_sparse_file_of_10_gib(tmp_path: Path) -> None:
    size = 10 * 2**30
    with (tmp_path / "sparse.bin").open("wb") as file:
        file.truncate(size)
        os.pwrite(file.fileno(), b"near the end", size - 100)
        os.pwrite(file.fileno(), b"beyond 4 GiB", 5 * 2**30)
    with served(Site(tmp_path)) as running:
        assert running.get("/sparse.bin", "-I").headers["content-length"] == str(size)
        assert running.get("/sparse.bin", "-r", f"{5 * 2**30}-{5 * 2**30 + 11}").body == b"beyond 4 GiB"
        last = running.get("/sparse.bin", "-r", "-100")
        assert last.body == b"near the end".ljust(100, b"\0")
        assert last.headers["content-range"] == f"bytes {size - 100}-{size - 1}/{size}"
        assert running.get("/sparse.bin", "-r", f"{size}-").status == 416
