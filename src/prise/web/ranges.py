"""Parts of a file: the Range field and the answers to it (RFC 9110 §14, §15.3.7, §15.5.17).

`parse` says which bytes are wanted, `partial` makes the body. A client may ask for many small or overlapping pieces to
make a server work (RFC 9110 §17.15): pieces that overlap or nearly touch become one, and a field with too many, or which
asks for more than the whole, is answered with the whole.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

from prise.web.response import FilePart

MOST_RANGES: Final = 50
"""In one field. More are not looked at: the whole is sent."""
GAP: Final = 100
"""Bytes between two ranges that are sent along, because the head of another part would be longer."""

_SPEC: Final = re.compile(r"[\t ]*(?:([0-9]{1,20})-([0-9]{0,20})|-([0-9]{1,20}))?[\t ]*")


class Range(NamedTuple):
    """Bytes from start up to but without stop; never empty."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        """The value of Content-Range, which counts the last byte in."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse(field: str, size: int) -> list[Range] | None:
    """The ranges that a Range field asks of `size` bytes, in its order, none overlapping.

    None: the field does not count, send the whole (another unit, not well formed, too much). []: none of them exists: 416.
    """
    unit, equals, specs = field.partition("=")
    if not equals or unit.strip().lower() != "bytes" or len(specs) > MOST_RANGES * 45:
        return None
    texts = specs.split(",")
    if len(texts) > MOST_RANGES:
        return None
    ranges: list[Range] = []
    any_spec = False
    for text in texts:
        match = _SPEC.fullmatch(text)
        if not match:
            return None
        first, last, suffix = match.groups()
        if suffix is not None:
            any_spec = True
            start, stop = max(size - int(suffix), 0), size
            if size == 0 and int(suffix):
                return None  # satisfiable, but no Content-Range can say "nothing": the whole, which is empty
        elif first is not None:
            any_spec = True
            start, stop = int(first), min(int(last) + 1, size) if last else size
            if last and int(last) < start:
                return None
        else:
            continue  # an empty element of a list (§5.6.1.2)
        if start < stop:
            ranges.append(Range(start, stop))
    if not any_spec:
        return None
    if len(ranges) > 1:
        if sum(stop - start for start, stop in ranges) > size:
            return None
        ranges = _joined(ranges)
    return ranges


def _joined(ranges: Sequence[Range]) -> list[Range]:
    """Those that overlap or nearly touch made one, each at the place of its earliest."""
    joined: list[tuple[int, Range]] = []
    for place, (start, stop) in sorted(enumerate(ranges), key=lambda item: item[1]):
        if joined and start - joined[-1][1].stop <= GAP:
            before, (first, last) = joined[-1]
            joined[-1] = (min(before, place), Range(first, max(last, stop)))
        else:
            joined.append((place, Range(start, stop)))
    return [each for _, each in sorted(joined)]


def unsatisfiable(size: int) -> tuple[str, str]:
    """The header of a 416."""
    return ("Content-Range", f"bytes */{size}")


def partial(
    ranges: Sequence[Range], descriptor: int, size: int, content_type: str
) -> tuple[list[tuple[str, str]], list[bytes | FilePart]]:
    """Headers (Content-Type among them) and body of a 206 for one or more ranges."""
    if len(ranges) == 1:
        start, stop = ranges[0]
        headers = [("Content-Type", content_type), ("Content-Range", ranges[0].content_range(size))]
        return headers, [FilePart(descriptor, start, stop - start)]
    boundary = secrets.token_hex(16)  # nobody can have put it into the file
    body: list[bytes | FilePart] = []
    for each in ranges:
        head = f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {each.content_range(size)}\r\n\r\n"
        body += (head.encode(), FilePart(descriptor, each.start, each.stop - each.start))
    body.append(f"\r\n--{boundary}--\r\n".encode())
    return [("Content-Type", f"multipart/byteranges; boundary={boundary}")], body
