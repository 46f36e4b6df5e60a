"""The frames of `prise.ipc`, version 1: how a stream between two processes of one machine is cut into messages.

    uint64, big-endian: bits 0 to 61 the length of the message in bytes
                        bit 63 DESCRIPTOR: the bytes are in shared memory; its descriptor came with this frame
                        bit 62 SHAPED: the message is an array, which is described next
    if SHAPED: 1 byte the format of an element (module struct, native), 1 byte the number of dimensions (0 to 64),
               then one uint64 for each
    unless DESCRIPTOR: the bytes of the message

Nothing here does I/O. The reader feeds what it has read; a message that is larger than what is read at once is filled in by
the reader itself, straight into its own memory (`Decoder.rest`).
"""

from __future__ import annotations

import math
import mmap
import struct
from typing import Any, Final, NamedTuple

from prise.errors import FrameError, MessageTooLarge, UsageError

DESCRIPTOR: Final = 1 << 63
SHAPED: Final = 1 << 62
LENGTH: Final = SHAPED - 1

HEAD: Final = struct.Struct("!Q")
SIZE: Final = HEAD.size
MOST_DIMENSIONS: Final = 64
"""What a memoryview can have (PyBUF_MAX_NDIM)."""

FORMATS: Final = frozenset("cbB?hHiIlLqQnNfd")
"""Elements that a memoryview can show: one native number, character or truth value (memoryview.cast)."""

REUSED: Final = 32 * 1024 * 1024
"""Bytes; the most that malloc(3) keeps (DEFAULT_MMAP_THRESHOLD_MAX of glibc)."""

Shape = tuple[str, tuple[int, ...]]
"""Format and dimensions."""

PLAIN: Final[Shape] = ("B", ())
"""What a message is that was sent without a description: bytes."""


class Announced(NamedTuple):
    """A message whose bytes are in the shared memory that came along. size: of it, in bytes."""

    size: int
    shape: Shape


def head(size: int, shape: Shape = PLAIN, *, descriptor: bool = False) -> bytes:
    """What stands in front of a message of this many bytes."""
    first = size | (DESCRIPTOR if descriptor else 0)
    if shape is PLAIN:
        return HEAD.pack(first)
    format, dimensions = shape
    return struct.pack(f"!QcB{len(dimensions)}Q", first | SHAPED, format.encode(), len(dimensions), *dimensions)


def shape_of(view: memoryview) -> Shape:
    """How the other side is to show it. Raises UsageError for elements that are no single native number."""
    format = view.format.removeprefix("@")
    if format == "B" and view.ndim == 1:
        return PLAIN
    if format not in FORMATS:
        raise UsageError(
            "an array of elements {format} cannot be sent: send it as bytes (`array.view('u1')` in NumPy), or as native numbers",
            operation="send",
            format=repr(view.format),
        )
    return format, tuple(view.shape or ())


def shaped(view: memoryview, shape: Shape) -> memoryview:
    """The bytes as the array that they are. An array without elements has one dimension, whatever it had before."""
    if shape is PLAIN:
        return view
    format, dimensions = shape
    cast: Any = view.cast  # its formats are a literal type
    array: memoryview = cast(format, dimensions) if view.nbytes else cast(format)
    return array


def _room(size: int) -> bytearray | mmap.mmap:
    """Writable memory. For much of it, of the system: it costs nothing until it is filled, so that announcing is no attack.

    Up to 32 MiB the C library reuses what it has, which is twice as fast as new pages.
    """
    return bytearray(size) if size <= REUSED else mmap.mmap(-1, size)


class Decoder:
    """Bytes to messages. A message in shared memory is `Announced`; any other is a read-only memoryview.

    inline, shared: the most bytes of a message, by the way it comes. error: set once the bytes are wrong; what was
    complete before counts, nothing is accepted afterwards.
    """

    __slots__ = ("_body", "_data", "_filled", "_inline", "_shape", "_shared", "error", "offset")

    def __init__(self, inline: int, shared: int) -> None:
        self._inline = inline
        self._shared = shared
        self._data = b""  # the beginning of a frame
        self._body: bytearray | mmap.mmap | None = None  # a large message that is being filled
        self._filled = 0
        self._shape: Shape = PLAIN
        self.error: FrameError | None = None
        self.offset = 0  # of the stream, where the next frame begins

    @property
    def pending(self) -> bool:
        """True while a message has begun and is not complete."""
        return self._body is not None or bool(self._data)

    @property
    def rest(self) -> memoryview | None:
        """Where the next bytes of a large message belong; None when they are to be fed."""
        return None if self._body is None else memoryview(self._body)[self._filled :]

    def filled(self, count: int) -> memoryview | None:
        """So many bytes were written into `rest`. Returns the message when it is complete."""
        body = self._body
        assert body is not None
        self._filled += count
        if self._filled < len(body):
            return None
        self._body = None
        self.offset += len(body)
        return shaped(memoryview(body).toreadonly(), self._shape)

    def single(self, data: bytes) -> memoryview | None:
        """The message, when these bytes are one of bytes, whole, and nothing else: the usual case of small ones, made cheap."""
        if self._data or self._body is not None or self.error is not None or len(data) < SIZE:
            return None
        (first,) = HEAD.unpack_from(data)
        if first != len(data) - SIZE or first > self._inline:
            return None
        self.offset += len(data)
        return memoryview(data)[SIZE:]

    def feed(self, data: bytes) -> list[memoryview | Announced]:
        """The messages that these bytes complete. When `rest` is not None afterwards, the next bytes belong there."""
        found: list[memoryview | Announced] = []
        if self.error is not None:
            return found
        if self._data:
            data = self._data + data
            self._data = b""
        at, end = 0, len(data)
        try:
            while end - at >= SIZE:
                (first,) = HEAD.unpack_from(data, at)
                size, begin = first & LENGTH, at + SIZE
                if size > self._inline or first & DESCRIPTOR:
                    self._check(size, first)
                shape = PLAIN
                if first & SHAPED:
                    described = self._described(data, begin, size)
                    if described is None:
                        break
                    shape, begin = described
                if first & DESCRIPTOR:
                    found.append(Announced(size, shape))
                    self.offset += begin - at
                    at = begin
                elif begin + size <= end:
                    # A copy, so that a small message does not keep all the others that were read with it.
                    message = memoryview(data[begin : begin + size])
                    found.append(message if shape is PLAIN else shaped(message, shape))
                    self.offset += begin + size - at
                    at = begin + size
                else:
                    self._body, self._filled, self._shape = _room(size), end - begin, shape
                    self._body[: end - begin] = memoryview(data)[begin:]
                    self.offset += begin - at
                    at = end
        except FrameError as error:
            self.error = error
        else:
            self._data = data[at:]
        return found

    def _check(self, size: int, first: int) -> None:
        limit = self._shared if first & DESCRIPTOR else self._inline
        if size > limit:
            raise MessageTooLarge(
                "a message of {size} bytes is announced, {limit} is the limit",
                size=size,
                limit=limit,
                offset=self.offset,
            )
        if first & DESCRIPTOR and not size:
            raise FrameError("shared memory without a byte is announced", offset=self.offset)

    def _described(self, data: bytes, at: int, size: int) -> tuple[Shape, int] | None:
        """The shape, and where the description ends; None while it is incomplete."""
        if at + 2 > len(data):
            return None
        format, dimensions = chr(data[at]), data[at + 1]
        if format not in FORMATS or dimensions > MOST_DIMENSIONS:
            raise FrameError("the description of an array is wrong", offset=self.offset)
        end = at + 2 + dimensions * 8
        if end > len(data):
            return None
        shape = struct.unpack_from(f"!{dimensions}Q", data, at + 2)
        if math.prod(shape) * struct.calcsize(format) != size:
            raise FrameError("an array is described whose size is not that of the message", offset=self.offset)
        return (format, shape), end
