"""Shared memory for one message: a memfd (memfd_create(2)) that is sealed, so that nobody can change it any more.

The seals (fcntl(2), F_ADD_SEALS) are what lets a receiver map memory of a process that it does not trust: its size cannot change,
so that no access ends in SIGBUS, and nor can its bytes, so that what was checked stays as it was. They cannot be taken off.
F_SEAL_WRITE is refused while anybody can write through a mapping; F_SEAL_FUTURE_WRITE is not, but leaves the sender able to
change what the receiver reads, so it would not do. Hence a `Buffer` is unmapped when it is sent.

The memory lives as long as there is a descriptor or a mapping of it, in whichever process.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import math
import mmap
import os
import struct
import sys
from collections.abc import Sequence
from typing import Any, Self

from prise.errors import FrameError, UsageError
from prise.ipc.frame import FORMATS, PLAIN, Shape, shaped

_NOEXEC_SEAL = getattr(os, "MFD_NOEXEC_SEAL", 8)
"""Nobody shall run it as a program; Linux from 6.3 on has this, and can be told to refuse memory without it."""


def _new() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("prise", flags | _NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create("prise", flags)


def _supported() -> bool:
    if not (hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS")):
        return False
    try:
        os.close(_new())
    except OSError as error:  # a sandbox may forbid the call; that no descriptor is left is another matter
        return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
    return True


SUPPORTED = _supported()
"""Linux has it (3.17); elsewhere all messages go through the socket."""

NEEDED = SEALS = 0
if SUPPORTED:
    NEEDED = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    SEALS = NEEDED | fcntl.F_SEAL_SEAL

_NO_DESCRIPTOR: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
"""Older Pythons keep a descriptor for every mapping, so that a message that is held costs one."""


def create(size: int) -> int:
    """The descriptor of new shared memory, still empty. Raises UsageError when the system has none."""
    try:
        return _new()
    except OSError as error:
        raise no_memory(size, error) from error


def no_memory(size: int, error: OSError | OverflowError) -> UsageError:
    """What is said when the system has no memory or no descriptor left for a message."""
    number = getattr(error, "errno", None)
    reason = "no shared memory for {size} bytes could be had: {error}"
    if number in (errno.EMFILE, errno.ENFILE):
        reason = (
            "no descriptor is left for {size} bytes of shared memory: allow more (ulimit -n), or keep fewer messages"
        )
    elif number == errno.ETOOMANYREFS:
        reason = (
            "too many descriptors are on their way already: allow more (ulimit -n), or wait until messages are taken"
        )
    return UsageError(reason, operation="send", size=size, error=getattr(error, "strerror", None) or error)


def sealed_copy(view: memoryview) -> int:
    """The descriptor of sealed memory with these bytes (contiguous, format B). Raises UsageError.

    Written, not mapped and copied: the kernel then need neither clear the pages first nor map them one by one, which takes
    about half of the time.
    """
    descriptor = create(len(view))
    try:
        at = 0
        while at < len(view):
            at += os.write(descriptor, view[at:])
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except OSError as error:
        os.close(descriptor)
        raise no_memory(len(view), error) from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def view_of(descriptor: int, size: int) -> memoryview:
    """Maps what another process has sent, read-only. Raises FrameError unless it is sealed and of this size; OSError."""
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) if SUPPORTED else 0
    except OSError:  # EINVAL: no shared memory at all
        seals = 0
    if seals & NEEDED != NEEDED:
        raise FrameError("the descriptor that came with the message is not sealed memory (memfd_create(2)): refused")
    # Only now: what is sealed keeps its size.
    found = os.fstat(descriptor).st_size
    if found != size:
        raise FrameError(
            "a message of {size} bytes is announced, its shared memory has {found}: refused", size=size, found=found
        )
    # Private, because Linux before 6.7 refuses a shared mapping of what is sealed against writing; nothing differs else.
    return memoryview(mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ, **_NO_DESCRIPTOR))


@functools.cache
def _strict() -> bool:
    """Whether the system promises no more memory than it has (vm.overcommit_memory is 2).

    Then memory that is short is an error when it is reserved, and SIGBUS when it is not. Elsewhere reserving would only
    have the system look for victims earlier (the OOM killer).
    """
    try:
        with open("/proc/sys/vm/overcommit_memory", encoding="ascii") as file:
            return file.read(1) == "2"
    except OSError:
        return False


class Buffer(mmap.mmap):
    """Writable memory that is sent without being copied. Use it like a bytearray of fixed length, or through `view`.

    Sending seals it: from then on it cannot be read or written here (ValueError), but be sent again, to anybody, until it is
    closed. Arrays and views that were made of it must be gone by then (`del array`). Use it in a `with` statement, or `close` it.
    """

    _descriptor: int
    _size: int
    _shape: Shape

    def __new__(cls, shape: int | Sequence[int], format: str = "B") -> Self:
        """shape: how many elements, or the dimensions of an array; format: of an element, as in the module struct.

        Raises UsageError, also when there is not so much memory.
        """
        dimensions = (shape,) if isinstance(shape, int) else tuple(shape)
        if format not in FORMATS or any(each < 1 for each in dimensions):
            raise UsageError(
                "{shape} elements {format} cannot be had: a size is 1 at least, a format one of {known}",
                shape=shape,
                format=repr(format),
                known="".join(sorted(FORMATS)),
            )
        size = math.prod(dimensions) * struct.calcsize(format)
        descriptor = create(size) if SUPPORTED else -1
        try:
            if SUPPORTED:
                os.truncate(descriptor, size)
                if _strict():
                    os.posix_fallocate(descriptor, 0, size)
            self = super().__new__(cls, descriptor, size)
        except (OSError, OverflowError) as error:
            if descriptor >= 0:
                os.close(descriptor)
            raise no_memory(size, error) from error
        self._descriptor = descriptor
        self._size = size
        self._shape = PLAIN if format == "B" and len(dimensions) == 1 else (format, dimensions)
        return self

    @property
    def shape(self) -> Shape:
        """Format and dimensions."""
        return self._shape

    @property
    def nbytes(self) -> int:
        """Its size in bytes, also once it is sealed (`len` is then refused)."""
        return self._size

    def view(self) -> memoryview:
        """All of it, as the array that it was made for; `numpy.asarray(buffer.view())` shares it."""
        return shaped(memoryview(self), self._shape)

    def seal(self) -> int:
        """Makes it unchangeable, and returns its descriptor. Raises UsageError while something can still write to it.

        Where there is no shared memory it stays as it is, and -1 is returned.
        """
        if self._descriptor < 0:
            if self.closed:
                raise UsageError("the buffer is closed", operation="send")
            return -1
        if not self.closed:
            try:
                super().close()
            except BufferError:
                raise UsageError(
                    "something still uses the buffer: delete the arrays and views that were made of it, then send it",
                    operation="send",
                ) from None
            fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, SEALS)
        return self._descriptor

    def contents(self) -> memoryview:
        """Its bytes, read-only, for a way that takes no shared memory; seals it."""
        descriptor = self.seal()
        return memoryview(self).toreadonly() if descriptor < 0 else view_of(descriptor, self._size)

    def close(self) -> None:
        """Lets go of it; whoever has received it keeps it. Closing twice is harmless."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
        if not self.closed:
            super().close()

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __exit__(self, *_: object) -> None:
        self.close()
