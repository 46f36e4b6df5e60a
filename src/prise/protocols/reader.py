r"""Takes what a server sends apart, as the procedure asks for it: a line, so many bytes, a text that ends with a dot.

Answers change their form in the middle of a read (a line, then 3 GB, then a line), so this is no `Framing`: whoever reads says
what is to come. Each method is a piece of a procedure (`line = yield from reader.line()`), and waits for more bytes
only where those that are here do not do.
"""

from __future__ import annotations

import re
from io import BytesIO

from prise.errors import ConnectionLost, MessageTooLarge, ProtocolError
from prise.protocols.steps import MAIN, Items, Receive, Step, Steps

LONGEST_LINE = 64 * 1024
"""Bytes of a line, its end included. RFC 5322 allows 1,000 and RFC 3977 512; overviews and headers of the wild have more."""


class Reader:
    """What has come on one link and was not used yet."""

    __slots__ = ("_at", "_data", "_dots", "_head", "_step", "ended")

    unpacked: int = 0
    """Bytes that came out of compressed ones, in a protocol that compresses."""

    def __init__(self, link: int = MAIN) -> None:
        self._step: Step = None if link == MAIN else Receive(link=link)
        self._data = b""
        self._at = 0  # what is before it has been used
        self._dots: _Dots | None = None  # in the middle of a text that ends with a dot
        self._head = b""  # of a line of it, in `dotted_lines`
        self.ended = False

    @property
    def pending(self) -> int:
        """Bytes that are here and were not used."""
        return len(self._data) - self._at

    def more(self) -> Steps[None]:
        """Waits for more bytes. Raises ConnectionLost at the end of the input."""
        if not (yield from self._more()):
            raise ConnectionLost("the server closed the connection in the middle of an answer", operation="receive")

    def _more(self) -> Steps[bool]:
        data = b"" if self.ended else (yield from self.receive())
        if not data:
            self.ended = True
            return False
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0
        return True

    def receive(self) -> Steps[bytes]:
        """The next bytes of the link, b"" at its end. A protocol that compresses has a reader that takes this over."""
        data: bytes = yield self._step
        return data

    def put_back(self, data: bytes) -> None:
        """Bytes that were received in another way come before all others."""
        self._data, self._at = data + self._data[self._at :], 0

    def line(self, limit: int = LONGEST_LINE) -> Steps[bytes]:
        r"""The next line, without its \r\n or \n. Raises MessageTooLarge, ConnectionLost."""
        end = self._data.find(b"\n", self._at)
        if end < 0:
            return (yield from self._long_line(limit))
        start, self._at = self._at, end + 1
        if end - start > limit:
            raise _too_long(limit)
        return self._data[start : end - 1 if end > start and self._data[end - 1] == 13 else end]

    def _long_line(self, limit: int) -> Steps[bytes]:
        """A line that comes in several pieces, each looked at once: 16 MB in pieces of 1 KB are no more work than in one."""
        line = BytesIO()
        end = -1
        while end < 0:
            line.write(self._data[self._at :])
            self._at = len(self._data)
            if line.tell() > limit:
                raise _too_long(limit)
            yield from self.more()
            end = self._data.find(b"\n")
        self._at = end + 1
        line.write(self._data[:end])
        if line.tell() > limit:
            raise _too_long(limit)
        return line.getvalue().removesuffix(b"\r")

    def piece(self, most: int) -> Steps[bytes]:
        """What is here of the next `most` bytes: at least one. Raises ConnectionLost."""
        if not self.pending:
            yield from self.more()
        start = self._at
        self._at = min(start + most, len(self._data))
        return self._data if not start and self._at == len(self._data) else self._data[start : self._at]

    def exactly(self, count: int) -> Steps[bytes]:
        """The next `count` bytes, which the caller has found not to be too many. Raises ConnectionLost."""
        if count <= self.pending:
            start, self._at = self._at, self._at + count
            return self._data[start : self._at]
        # One buffer of the right size: a list of pieces would hold them twice when they are joined, and a buffer that grows is
        # copied again and again.
        gathered = BytesIO()
        gathered.seek(count - 1)
        gathered.write(b"\0")
        gathered.seek(0)
        while count:
            piece = yield from self.piece(count)
            gathered.write(piece)
            count -= len(piece)
        return gathered.getvalue()

    def rest(self) -> Steps[bytes]:
        """The next bytes whatever they are; b"" at the end of the input, which is no error here."""
        if not self.pending and not (yield from self._more()):
            return b""
        start, self._at = self._at, len(self._data)
        return self._data[start:]

    def dotted(self) -> Steps[bytes | None]:
        r"""The next piece of a text that ends with a line of one dot (RFC 3977 §3.1.1, RFC 1939 §3), its dots undoubled; None
        behind its end. Line ends are left as they are. Raises ProtocolError for a dot that was not doubled, ConnectionLost.
        """
        dots = self._dots = self._dots or _Dots()
        while not dots.ended:
            if not self.pending:
                yield from self.more()
            data, self._at = self._data[self._at :], len(self._data)
            if text := dots.undouble(data):
                return text
        self._dots = None
        self.put_back(dots.rest)
        return None

    def dotted_items(self) -> Steps[None]:
        """All of such a text, for the caller, piece by piece."""
        while (text := (yield from self.dotted())) is not None:
            yield Items((text,))

    def dotted_lines(self, limit: int = LONGEST_LINE) -> Steps[list[bytes] | None]:
        """The same as lines, without their ends: those that are complete, at least one; None behind the last."""
        while (text := (yield from self.dotted())) is not None:
            lines = (self._head + text).replace(b"\r\n", b"\n").split(b"\n")
            self._head = lines.pop()  # its rest is still to come
            if len(self._head) > limit or any(len(line) > limit for line in lines):
                raise _too_long(limit)
            if lines:
                return lines
        last, self._head = self._head, b""
        return [last] if last else None


class _Dots:
    r"""The end of a dotted text, and its dots. A line that begins with one dot alone is either the end or an error."""

    __slots__ = ("_begun", "_held", "ended", "rest")

    _SINGLE = re.compile(rb"\r\n\.(?!\.)")

    def __init__(self) -> None:
        self._held = b"\r\n"  # the beginning is the beginning of a line; what may be part of the end waits here
        self._begun = False
        self.ended = False
        self.rest = b""  # what came behind the end

    def undouble(self, data: bytes) -> bytes:
        """The text that these bytes complete."""
        data = self._held + data
        self._held = b""
        single = self._SINGLE.search(data)
        if single is not None:
            at = single.start()
            behind = data[at + 3 : at + 5]
            if behind == b"\r\n":
                self.ended, self.rest = True, data[at + 5 :]
                data = data[: at + 2]
            elif b"\r\n".startswith(behind):
                data, self._held = data[:at], data[at:]
            else:
                raise ProtocolError(
                    "a line of the answer begins with a dot that is not doubled: where the text ends is not certain"
                )
        elif data.endswith(b"\r\n"):
            data, self._held = data[:-2], b"\r\n"
        elif data.endswith(b"\r"):
            data, self._held = data[:-1], b"\r"
        text = data.replace(b"\r\n.", b"\r\n")
        if not self._begun and len(text) >= 2:
            self._begun, text = True, text[2:]  # the line end that is only imagined
        return text


def _too_long(limit: int) -> MessageTooLarge:
    return MessageTooLarge("the server sent a line of more than {limit} bytes", operation="receive", limit=limit)
