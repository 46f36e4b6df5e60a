"""Where channels are waited for: a Unix socket that only those whom it is meant for can reach.

The socket is 0600 from its first moment on, its folder may not be writable for others (or must be sticky, like /tmp), and the
kernel says who connects (SO_PEERCRED, fixed at that moment: whom an allowed process passes its channel on to, nobody knows).
There are no abstract names (no permissions) and no networks.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Collection

from prise.closing import AsyncClosing, Closing
from prise.errors import BindError, HandoverError
from prise.handover.channel import AsyncChannel, Channel
from prise.handover.wire import LONGEST_PATH, READ, Steps, drive, drive_async


class BaseListener:
    """path: of the socket; an old one where nobody listens any more is replaced, and it is removed at the end.

    uids: the users whose processes may connect; by default our own. mode: permissions of the socket; for others' processes
    (php-fpm's workers) it must be wider, or chowned. replace: also a socket where somebody listens: who goes on in its
    place. A folder that is missing is made, 0700. Raises BindError.
    """

    def __init__(
        self, path: str, uids: Collection[int] | None = None, mode: int = 0o600, replace: bool = False
    ) -> None:
        self.path = os.fspath(path)
        self.uids = frozenset({os.geteuid()} if uids is None else uids)
        if not self.path:
            raise BindError("the path is empty; write for example {example}", operation="bind", example="run/take")
        folder = os.path.dirname(os.path.abspath(self.path))
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            where = os.stat(folder)
        except OSError as error:
            raise BindError(
                "there can be no folder {folder}: {cause}",
                operation="bind",
                local=self.path,
                folder=folder,
                cause=error.strerror or error,
            ) from error
        if where.st_mode & stat.S_IWOTH and not where.st_mode & stat.S_ISVTX:
            raise BindError(
                "anybody may write in {folder}, so anybody could put a socket of theirs in place of this one; chmod 700 it",
                operation="bind",
                local=self.path,
                folder=folder,
            )
        self._sock = _bound(self.path, mode, replace)
        self._inode = os.stat(self.path).st_ino

    def fileno(self) -> int:
        """The descriptor, for `select` and the like; -1 when closed."""
        return self._sock.fileno()

    def close(self) -> None:
        """Stops listening and removes the path, if it is still ours."""
        if self._sock.fileno() < 0:
            return
        self._sock.close()
        try:
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)
        except OSError:
            pass  # somebody else was quicker

    def _accepting(self) -> Steps[socket.socket]:
        while True:
            try:
                sock, _ = self._sock.accept()
            except BlockingIOError:
                yield READ
                continue
            except OSError as error:
                raise HandoverError("{cause}", operation="accept", cause=error.strerror or error) from error
            return sock

    def _refuses(self, channel: Channel | AsyncChannel) -> bool:
        """Closes a channel of somebody who is not allowed."""
        who = channel.credentials
        if who is not None and who.uid in self.uids:
            return False
        channel.close()
        return True


class Listener(BaseListener, Closing):
    """Blocks: `with Listener(path) as listener: channel = listener.accept()`."""

    def accept(self, timeout: float | None = None) -> Channel:
        """The next channel of a process of an allowed user; those of others are closed. Raises TooSlow, HandoverError."""
        while True:
            channel = Channel(drive(self._accepting(), self._sock, timeout))
            if not self._refuses(channel):
                return channel


class AsyncListener(BaseListener, AsyncClosing):
    """The same on a running asyncio loop: `async with AsyncListener(path) as listener: channel = await listener.accept()`."""

    async def accept(self, timeout: float | None = None) -> AsyncChannel:
        """See `Listener.accept`."""
        while True:
            channel = AsyncChannel(await drive_async(self._accepting(), self._sock, timeout))
            if not self._refuses(channel):
                return channel


def _bound(path: str, mode: int, replace: bool) -> socket.socket:
    """A listening socket that has its permissions before it has its name."""
    fresh = f"{path}.{os.getpid()}"
    if (size := len(os.fsencode(fresh))) > LONGEST_PATH:
        raise BindError(
            "the path is too long: {length} bytes, a Unix socket has at most {most}; use a shorter or a relative path",
            operation="bind",
            local=path,
            length=len(os.fsencode(path)),
            most=LONGEST_PATH - (size - len(os.fsencode(path))),
        )
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _somebody_listens(path) and not replace:
            raise BindError("somebody listens there already", operation="bind", local=path)
        if os.path.lexists(fresh):
            os.unlink(fresh)
        sock.bind(fresh)
        os.chmod(fresh, mode)
        sock.listen(128)
        sock.setblocking(False)
        os.rename(fresh, path)  # in one step: who connects finds the old one or this one, never nothing
    except OSError as error:
        sock.close()
        if os.path.lexists(fresh):
            os.unlink(fresh)
        if isinstance(error, BindError):
            raise
        raise BindError("{cause}", operation="bind", local=path, cause=error.strerror or error) from error
    return sock


def _somebody_listens(path: str) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(found.st_mode):
        raise BindError("there is something that is no socket; remove it yourself", operation="bind", local=path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
    return True
