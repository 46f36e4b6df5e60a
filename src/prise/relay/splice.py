"""Two plain stream sockets joined inside the kernel: splice(2), from a socket into a pipe and from there into the other.

No byte comes into this process. Each direction has a pipe only while bytes are in it: nearly always they go out in the same
turn, and the pipe goes back to those that are ready for the next one. So a thousand quiet passages hold no pipe at all, and
one whose receiver is stuck holds one, full, and is not read.

What splice(2) says of a socket: 0 is the end of its input, and cannot be anything else, since we never ask for 0 bytes;
EAGAIN with an empty pipe is "nothing there"; EAGAIN towards a socket is "no room". A pipe is empty before it is filled again,
so an end or an error of the source is seen only when everything before it has been passed on.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
from functools import cache
from typing import Any, NamedTuple

from prise.connection.looped import OPEN
from prise.errors import ConnectionLost
from prise.relay.ends import End

PIPE_SIZE = 1024 * 1024
"""Bytes of a pipe, where the system lets us have them (/proc/sys/fs/pipe-max-size); else what it gives: 64 KiB."""
LARGE_PIPES = 64
"""Pipes in use beyond these keep the system's own size: what a thousand stuck receivers hold is bounded."""
KEPT_PIPES = 16
"""Empty pipes that are kept for the next turn."""
TURN = 1024 * 1024
"""Bytes moved for one connection before the others have their turn."""
STARVED_PAUSE = 0.1
"""Seconds without reading when no descriptor is left for a pipe."""

F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", 1031)
FLAGS = 3  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK


class Pipe(NamedTuple):
    read: int
    write: int
    size: int


class Pipes:
    """The pipes of one relay."""

    def __init__(self) -> None:
        self._ready: list[Pipe] = []
        self._large = 0

    def take(self) -> Pipe:
        """An empty pipe. Raises OSError out of descriptors."""
        if self._ready:
            return self._ready.pop()
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        size = 65_536
        if self._large < LARGE_PIPES:
            try:
                size = fcntl.fcntl(write, F_SETPIPE_SZ, PIPE_SIZE)
                self._large += 1
            except OSError:
                pass  # not that much for us
        return Pipe(read, write, size)

    def give(self, pipe: Pipe) -> None:
        """Takes an empty one back."""
        if len(self._ready) < KEPT_PIPES:
            self._ready.append(pipe)
        else:
            self.spoil(pipe)

    def spoil(self, pipe: Pipe) -> None:
        """Closes one, with what is in it."""
        self._large -= pipe.size > 65_536
        os.close(pipe.read)
        os.close(pipe.write)

    def close(self) -> None:
        while self._ready:
            self.spoil(self._ready.pop())


@cache
def available() -> bool:
    """Whether this system splices sockets; asked by doing it once."""
    if sys.platform != "linux" or not hasattr(os, "splice"):
        return False
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    ours, theirs = socket.socketpair()
    try:
        theirs.send(b"!")
        moved = os.splice(ours.fileno(), write, 1, flags=FLAGS) and os.splice(read, ours.fileno(), 1, flags=FLAGS)
        return moved == 1
    except OSError:
        return False
    finally:
        os.close(read)
        os.close(write)
        ours.close()
        theirs.close()


class SplicedEnd(End):
    """An end that lets the kernel move the bytes if both are plain stream sockets and nobody wants to see them."""

    __slots__ = ("_in_pipe", "_pipe", "_sink_error", "_sink_fd", "_source_fd", "_splicing")

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._splicing = False
        self._pipe: Pipe | None = None
        self._in_pipe = 0
        self._sink_error: OSError | None = None  # the other end takes no more
        self._source_fd = self._sink_fd = -1

    @property
    def _plain(self) -> bool:
        sock = self._sock
        # Only these kinds are known to be spliced both ways; and nothing may wait here that was read already.
        return (
            not self._layered
            and self._bucket is None
            and not (self._held or self._out or self._decoder.more)
            and sock.type == socket.SOCK_STREAM
            and sock.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
        )

    def join(self, other: End) -> None:
        super().join(other)  # type: ignore[arg-type]
        if isinstance(other, SplicedEnd) and self._plain and other._plain:
            self._splicing = True
            self._source_fd, self._sink_fd = self.fileno(), other.fileno()

    # -- what the loop calls ---------------------------------------------------------------------------------------------

    def on_readable(self) -> None:
        if not self._splicing:
            super().on_readable()
            return
        if self._in_pipe or self._eof or self._state or self._sink_error:
            return  # watched for something else, and hung up: writing will tell
        try:
            pipe = self._relay.pipes.take()
        except OSError:
            self._pause(self._time() + STARVED_PAUSE)
            self._settle()
            return
        self._active = self._loop.now
        self._pipe = pipe
        source, write, size = self._source_fd, pipe.write, pipe.size
        counters, moved = self._counters, 0
        try:
            while moved < TURN:
                count = os.splice(source, write, size, flags=FLAGS)
                if not count:
                    self._give_back()
                    self._ended()
                    return
                moved += count
                self.moved += count
                counters.bytes_received += count
                self._in_pipe = count
                if not self._push():
                    return
                if count < 32_768:
                    break  # that was probably all: asking would cost as much as being told by the loop
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._give_back()
            self._source_broke(error)
            return
        self._give_back()

    def on_writable(self) -> None:
        if not self._splicing:
            super().on_writable()
            return
        source = self.other
        if source is None or self._state:
            return
        self._active = self._loop.now
        if source._in_pipe and source._push():
            source._give_back()
            source._settle()
            self._settle()

    def _push(self) -> bool:
        """Out of the pipe; False when something is left in it, or nobody is there who would take it."""
        pipe, other = self._pipe, self.other
        if pipe is None or other is None:
            return True
        try:
            while self._in_pipe:
                count = os.splice(pipe.read, self._sink_fd, self._in_pipe, flags=FLAGS)
                self._in_pipe -= count
                other._counters.bytes_sent += count
        except (BlockingIOError, InterruptedError):
            self._settle()
            other._settle()
            return False
        except OSError as error:
            self._spoil()
            self._sink_broke(error)
            return False
        return True

    def _settle(self) -> None:
        if not self._splicing or self._state != OPEN or self.other is None:
            super()._settle()
            return
        reading = not (self._in_pipe or self._eof or self._sink_error or self._paused_until)
        self._watch(reading, self.other._in_pipe > 0)

    # -- ending ----------------------------------------------------------------------------------------------------------

    def _ended(self) -> None:
        """The source has ended, and everything before that is passed on."""
        other = self.other
        assert other is not None
        self._eof = self._end_told = True
        if other._sink_error is not None:  # it ended because it is gone
            self._relay.side_broke(self, self._lost_by(other._sink_error))
        else:
            self._settle()
            self._relay.side_ended(self)

    def _source_broke(self, error: OSError) -> None:
        self._eof = self._end_told = True
        lost = self._lost_by(error)
        self._note_lost(lost)
        self._relay.side_broke(self, lost)

    def _sink_broke(self, error: OSError) -> None:
        """The other end takes no more. What it has said before that is still passed on, then it is over."""
        other = self.other
        assert other is not None
        self._sink_error = error
        if other._eof:
            self._relay.side_broke(other, other._lost_by(error))
        else:
            self._settle()
            other._settle()

    def _lost_by(self, error: OSError) -> ConnectionLost:
        if error.errno == errno.EPIPE:
            error = OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        return ConnectionLost("the peer is gone ({cause})", peer=self.peer, cause=error.strerror or error)

    def _give_back(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            self._relay.pipes.give(pipe)

    def _spoil(self) -> None:
        pipe, self._pipe = self._pipe, None
        self._in_pipe = 0
        if pipe is not None:
            self._relay.pipes.spoil(pipe)

    def closed_now(self) -> None:
        self._spoil() if self._in_pipe else self._give_back()
        super().closed_now()
