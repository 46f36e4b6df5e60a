r"""yEnc, read: a file of bytes in the text of one article or several (the draft at www.yenc.org, version 1.3). No I/O.

decoder = Decoder()
for article in articles:                the parts, in their order
    file.write(decoder.feed(article))   in any pieces, header and all: what is no yEnc is passed over
decoder.finish()                        raises FrameError if something is missing

=ybegin part=1 total=2 line=128 size=300000 name=photo.jpg
=ypart begin=1 end=150000
every byte + 42; those that come to NUL, CR, LF or "=" as "=" and the byte + 64 + 42
=yend size=150000 part=1 pcrc32=12345678
"""

from __future__ import annotations

import re
from zlib import crc32

from prise.errors import FrameError
from prise.protocols.header import file_name

LONGEST_LINE = 64 * 1024
"""Bytes of a line. The draft says 254 at the most, and some have more."""

_PLAIN = bytes((byte - 42) % 256 for byte in range(256))
_ESCAPED = [bytes([(byte - 64) % 256]) for byte in range(256)]
# From the beginning of a word only: to try each letter of a long one that has no "=" takes time by its square.
_DETAIL = re.compile(rb"\b(\w+)=(\w+)")


class Decoder:
    """One file. name: without folders; size: of the whole, in bytes; total: of parts; None before they are known, and where
    they are not told. position: bytes decoded so far."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.size: int | None = None
        self.total: int | None = None
        self.position = 0
        self._rest = b""  # of a line that is not complete
        self._in_data = False
        self._awaits_part = False
        self._part_size: int | None = None  # outside of a part
        self._part_begin = 0
        self._part_crc = self._crc = 0

    def feed(self, text: bytes) -> bytes:
        """The bytes of the file that this text completes. Raises FrameError for what is not yEnc, for a part out of its order
        and for one whose size or checksum is not what it says."""
        text = self._rest + text
        cut = text.rfind(b"\n") + 1
        self._rest = text[cut:]
        if len(self._rest) > LONGEST_LINE:
            if self._in_data:
                raise FrameError("a line of yEnc has more than {limit} bytes", limit=LONGEST_LINE)
            self._rest = self._rest[-1:]  # it is not ours
        found, at = [], 0
        while at < cut:
            if not self._in_data:
                at = self._next_control(text, at, cut)
                continue
            end = at if text.startswith(b"=y", at) else text.find(b"\n=y", at, cut) + 1 or cut
            found.append(self._decode(text[at:end]))
            if end < cut:
                self._in_data = False
            at = end
        return b"".join(found)

    def finish(self) -> None:
        """Raises FrameError if there was no file, or its end is missing."""
        if self.name is None:
            raise FrameError("there is no yEnc in this text: no line begins with =ybegin")
        if self._in_data or self._awaits_part:
            raise FrameError("the yEnc of {name} breaks off: there is no =yend", name=self.name)
        if self.size is not None and self.position != self.size:
            raise FrameError(
                "{name} has {size} bytes, and only {count} came: parts of it are missing",
                name=self.name,
                size=self.size,
                count=self.position,
            )

    def _next_control(self, text: bytes, at: int, cut: int) -> int:
        """Obeys the control line that comes next, outside of data; returns where it ends."""
        start = at if text.startswith(b"=y", at) else text.find(b"\n=y", at, cut) + 1
        if not start and not text.startswith(b"=y", at):
            return cut
        end = text.index(b"\n", start) + 1
        if end - start > LONGEST_LINE:
            raise FrameError("a line of yEnc has more than {limit} bytes", limit=LONGEST_LINE)
        line = text[start:end].rstrip(b"\r\n")
        if line.startswith(b"=ybegin "):
            self._begin(line)
        elif line.startswith(b"=ypart ") and self._awaits_part:
            self._begin_part(line)
        elif line.startswith(b"=yend") and self._part_size is not None:
            self._end_part(line)
        return end

    def _begin(self, line: bytes) -> None:
        head, _, name = line.partition(b" name=")
        details = _details(head)
        size = _number(details, b"size")
        if self.name is None:
            self.name, self.size, self.total = file_name(name.strip(b' "').decode(errors="surrogateescape")), size, None
            if b"total" in details:
                self.total = _number(details, b"total")
        elif size != self.size:
            raise FrameError(
                "a part belongs to another file: {name} has {size} bytes, and this one {other}",
                name=self.name,
                size=self.size,
                other=size,
            )
        self._part_begin, self._part_size, self._part_crc = self.position, size, 0
        self._awaits_part = b"part" in details
        self._in_data = not self._awaits_part

    def _begin_part(self, line: bytes) -> None:
        details = _details(line)
        begin, end = _number(details, b"begin"), _number(details, b"end")
        if begin != self.position + 1:
            raise FrameError(
                "the part of {name} that begins with byte {begin} came where byte {expected} was to come: part missing, or "
                "not in order",
                name=self.name,
                begin=begin,
                expected=self.position + 1,
            )
        self._part_size = end - begin + 1
        self._awaits_part, self._in_data = False, True

    def _decode(self, text: bytes) -> bytes:
        # Lines may come one by one or all at once: an escape does not go on in the next.
        if b"=\n" in text or b"=\r" in text or text.endswith(b"="):
            raise FrameError('the yEnc of {name} has a "=" with nothing behind it', name=self.name)
        first, *escaped = text.translate(None, b"\r\n").split(b"=")
        try:
            plain = first + b"".join([_ESCAPED[piece[0]] + piece[1:] for piece in escaped])
        except IndexError:  # "==", where the first is no escape of the second
            raise FrameError('the yEnc of {name} has a "=" with nothing behind it', name=self.name) from None
        data = plain.translate(_PLAIN)
        self._part_crc, self._crc = crc32(data, self._part_crc), crc32(data, self._crc)
        self.position += len(data)
        return data

    def _end_part(self, line: bytes) -> None:
        details = _details(line)
        size = self.position - self._part_begin
        if size != _number(details, b"size") or size != self._part_size:
            raise FrameError(
                "{name}: {said} bytes were to come, and {size} came",
                name=self.name,
                said=self._part_size,
                size=size,
            )
        checks = [(b"pcrc32", self._part_crc)]
        if self.position == self.size:
            checks.append((b"crc32", self._crc))
        for field, crc in checks:
            said = details.get(field)
            if said is not None and _hexadecimal(said) != crc:
                raise FrameError(
                    "{name} is damaged: its CRC-32 is {crc:08x}, and was {said}",
                    name=self.name,
                    crc=crc,
                    said=said.decode(),
                )
        self._part_size = None


def decode(text: bytes) -> bytes:
    """The file in a text that is here as a whole. Raises FrameError."""
    decoder = Decoder()
    data = decoder.feed(text if text.endswith(b"\n") else text + b"\r\n")
    decoder.finish()
    return data


def _details(line: bytes) -> dict[bytes, bytes]:
    return dict(_DETAIL.findall(line))


def _number(details: dict[bytes, bytes], name: bytes) -> int:
    text = details.get(name, b"")
    if not text.isdigit() or len(text) > 18:
        raise FrameError("a line of yEnc has no number for {field}", field=name.decode())
    return int(text)


def _hexadecimal(text: bytes) -> int:
    try:
        return int(text, 16) & 0xFFFFFFFF
    except ValueError:
        return -1
