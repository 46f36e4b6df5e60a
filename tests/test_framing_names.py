"""Framings by name, as the command line takes them."""

from __future__ import annotations

import pytest

from prise.codecs import json, msgpack, text
from prise.errors import UsageError
from prise.framing import (
    Chunks,
    Cobs,
    Delimited,
    Fixed,
    Framing,
    Lines,
    Netstring,
    Prefixed,
    Slip,
    Varint,
    framing_of,
)


@pytest.mark.parametrize(
    ("name", "framing"),
    [
        ("lines", Lines() | text("utf-8")),
        (" lines ", Lines() | text()),
        ("lines:latin-1", Lines() | text("latin-1")),
        ("lines | text:latin-1", Lines() | text("iso8859-1")),
        ("lines | bytes", Lines()),
        ("lines|json", Lines() | json()),
        ("delimited:;", Delimited(b";")),
        ("delimited:|", Delimited(b"|")),
        ("delimited:| | text", Delimited(b"|") | text()),
        ("delimited::", Delimited(b":")),
        (r"delimited:\r\n\r\n", Delimited(b"\r\n\r\n")),
        (r"delimited:\x00\0\t\\", Delimited(b"\x00\x00\t\\")),
        ("delimited:é", Delimited("é".encode())),
        ("fixed:8", Fixed(8)),
        ("prefixed", Prefixed(4)),
        ("prefixed:2", Prefixed(2)),
        ("prefixed:4,little", Prefixed(4, "little")),
        ("prefixed:4 | json", Prefixed(4) | json()),
        ("prefixed:4 | msgpack", Prefixed(4) | msgpack()),
        ("varint", Varint()),
        ("netstring", Netstring()),
        ("cobs", Cobs()),
        ("slip", Slip()),
        ("chunks", Chunks()),
        ("chunks | text", Chunks() | text()),
        ("chunks | text:utf-16", Chunks() | text("utf-16")),
    ],
)
def test_names(name: str, framing: Framing) -> None:
    assert framing_of(name) == framing


def test_a_framing_is_its_own_name() -> None:
    framing = Prefixed(2) | json()
    assert framing_of(framing) is framing


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("line", "unknown framing 'line'; is 'lines' meant\\? The framings are lines, delimited, fixed"),
        ("Lines", "is 'lines' meant"),
        ("prefix:4", "is 'prefixed' meant"),
        ("xyz", "unknown framing 'xyz'; the framings are lines, delimited"),
        ("", "unknown framing ''"),
        ("| json", "unknown framing ''"),
        ("lines | jsn", "unknown codec 'jsn'; is 'json' meant\\? The codecs are text, json, msgpack, bytes"),
        ("lines | pickle", "unknown codec 'pickle'; the codecs are"),
        ("lines:utf-99", "unknown text encoding 'utf-99'"),
        ("lines:base64", "unknown text encoding 'base64'"),
        ("lines:utf-16", "use prefixed:4 | text:utf-16"),
        ("lines:latin-1 | json", "has a codec already"),
        ("lines | msgpack", "binary"),
        ("chunks | json", "needs a framing with boundaries"),
        ("lines | json:x", "nothing is expected behind the colon"),
        ("cobs:3", "nothing is expected behind the colon"),
        ("delimited", "needs its delimiter"),
        ("delimited:", "needs its delimiter"),
        (r"delimited:\q", "escapes of a delimiter"),
        (r"delimited:\x1", "escapes of a delimiter"),
        ("delimited:\\", "escapes of a delimiter"),
        ("fixed", "needs a number of bytes"),
        ("fixed:eight", "needs a number of bytes"),
        ("fixed:-1", "needs a number of bytes"),
        ("fixed:\x1d3", "needs a number of bytes"),  # white space to `re`, and not to `int`
        ("fixed:0", "above 0"),
        ("prefixed:3", "1, 2, 4 or 8 bytes, not 3"),
        ("prefixed:4,middle", "'big' or 'little', not 'middle'"),
        ("delimited:" + "x" * 991, "name of 1001 characters: at most 1000"),
    ],
)
def test_what_is_not_a_name_is_refused_with_the_cure(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        framing_of(name)


def test_what_is_neither_a_name_nor_a_framing_is_refused() -> None:
    with pytest.raises(UsageError, match="not 4"):
        framing_of(4)  # type: ignore[arg-type]
