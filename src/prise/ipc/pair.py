"""Pairs: the two ends of a connection, one of which goes to a child process.

    near, far = ipc.pair()
    process, near = ipc.start(work, 5)                      multiprocessing: the child calls work(far, 5)
    process, near = ipc.spawn([sys.executable, "x.py"])     a program: it connects to `pipe:`

They are sockets (socketpair(2)), not pipes (pipe(2)): one descriptor carries both directions, each of which can be ended by
itself, descriptors of shared memory can be passed, and writing can have a time limit.

An end is opened by the process that uses it. A child that was forked has copies of both; the one that it does not use is
closed when it opens its own, so that it hears when the parent has gone.
"""

from __future__ import annotations

import os
import socket
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import prise.connection.asynchronous as plain_async
import prise.connection.blocking as plain
from prise.clients.connect import CLIENT_LIMITS
from prise.core.limits import Limits
from prise.core.pipeline import Pipeline
from prise.errors import UsageError
from prise.framing import Framing, framing_of
from prise.ipc.asynchronous import AsyncConnection
from prise.ipc.blocking import Connection
from prise.ipc.opening import Async, Blocking, Opener, refuse_in_loop
from prise.ipc.sharing import LOCAL_LIMITS, Sharing
from prise.transports.pipe import VARIABLE, name_of

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from subprocess import Popen


class End(Opener[Blocking, Async]):
    """One end of a pair, not opened yet: `with`, `async with`, `await` or `open()` it, in the process that uses it, once.

    It can be an argument of `multiprocessing.Process`, whatever the start method, and be inherited by a program
    (`inheritance`). The process that has given it away closes its own copy, `close()`: only then does it hear the other's end.
    """

    def __init__(
        self, sock: socket.socket, framing: str | Framing | None, limits: Limits | None, sharing: Sharing | None
    ) -> None:
        self._sock = sock
        self._framing = framing
        self._limits = limits or (LOCAL_LIMITS if framing is None else CLIENT_LIMITS)
        self._sharing = sharing
        self._opened_already = False
        self._made_by = os.getpid()
        self._other: weakref.ref[socket.socket] | None = None  # the other end's, where both are made here

    def fileno(self) -> int:
        """The descriptor; -1 when it is opened by or closed in this process."""
        return -1 if self._opened_already else self._sock.fileno()

    def open(self) -> Blocking:
        refuse_in_loop()
        sock = self._take()
        connection: Any
        if self._framing is None:
            connection = Connection(sock, self._limits, self._sharing)
        else:
            pipeline = Pipeline(framing_of(self._framing), self._limits.message_size)
            connection = plain.Connection(sock, pipeline, self._limits)
        opened: Blocking = connection
        return opened

    async def open_async(self) -> Async:
        connection: Any
        if self._framing is None:
            connection = AsyncConnection(self._take(), self._limits, self._sharing)
        else:
            from prise.connection.host import Host
            from prise.loops.asyncio import running_loop

            pipeline = Pipeline(framing_of(self._framing), self._limits.message_size)
            sock = self._take()
            sock.setblocking(False)
            connection = plain_async.AsyncConnection(sock, pipeline, Host(running_loop(), self._limits))
            connection.begin()
            await connection.handshake()
        opened: Async = connection
        return opened

    def _take(self) -> socket.socket:
        """The socket. In a forked child, the copy of the other end is closed."""
        self._refuse_if_gone("open")
        other = self._other() if self._other is not None else None
        if other is not None and os.getpid() != self._made_by:
            other.close()
        self._opened_already = True
        return self._sock

    def _refuse_if_gone(self, operation: str) -> None:
        if self.fileno() < 0:
            raise UsageError("this end of the pair was opened or closed already", operation=operation)

    def close(self) -> None:
        """Closes this process's copy, unless it was opened: the connection is then what is to be closed."""
        if not self._opened_already:
            self._sock.close()

    def inheritance(self, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The arguments for `subprocess.Popen` with which a program gets this end as `pipe:`.

        environment: of the program; by default ours. Close the end once the program is started.
        """
        self._refuse_if_gone("open")
        variables = {**(os.environ if environment is None else environment), VARIABLE: name_of(self._sock)}
        return {"pass_fds": (self._sock.fileno(),), "env": variables}

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing.reduction import DupFd

        self._refuse_if_gone("send")
        return _arrived, (DupFd(self._sock.fileno()), self._framing, self._limits, self._sharing)


def _arrived(duplicate: Any, framing: str | Framing | None, limits: Limits, sharing: Sharing | None) -> End[Any, Any]:
    """What an end becomes in the process that it was sent to."""
    sock = socket.socket(fileno=duplicate.detach())
    sock.set_inheritable(False)
    return End(sock, framing, limits, sharing)


@overload
def pair(
    framing: None = None, *, limits: Limits | None = None, sharing: Sharing | None = None
) -> tuple[End[Connection, AsyncConnection], End[Connection, AsyncConnection]]: ...
@overload
def pair(
    framing: str | Framing, *, limits: Limits | None = None
) -> tuple[End[plain.Connection, plain_async.AsyncConnection], End[plain.Connection, plain_async.AsyncConnection]]: ...
def pair(
    framing: str | Framing | None = None, *, limits: Limits | None = None, sharing: Sharing | None = None
) -> tuple[Any, Any]:
    """The two ends of a new connection.

    framing: None: they open as `ipc.Connection`, whose messages are buffers, the large ones in shared memory. A framing
    ("lines", "prefixed | json"): they open as the usual `prise.Connection`. limits, sharing: of both ends. Raises OSError out
    of descriptors.
    """
    if framing is not None:
        framing_of(framing)  # what is wrong with it is to be heard here
    ours, theirs = socket.socketpair()
    near = End[Any, Any](ours, framing, limits, sharing)
    far = End[Any, Any](theirs, framing, limits, sharing)
    near._other, far._other = weakref.ref(theirs), weakref.ref(ours)
    return near, far


def start(
    target: Callable[..., object],
    *arguments: Any,
    framing: str | Framing | None = None,
    method: Literal["fork", "forkserver", "spawn"] | None = None,
    limits: Limits | None = None,
    sharing: Sharing | None = None,
    **options: Any,
) -> tuple[BaseProcess, End[Any, Any]]:
    """Starts a `multiprocessing.Process` that calls `target(far, *arguments)`, and returns it with the near end.

    method: how it is started, None as this platform does. options: of Process (name, daemon, kwargs). The rest as for `pair`.
    """
    import multiprocessing

    context: Any = multiprocessing.get_context(method)
    near, far = pair(framing, limits=limits, sharing=sharing) if framing is None else pair(framing, limits=limits)
    try:
        process: BaseProcess = context.Process(target=target, args=(far, *arguments), **options)
        process.start()
    except BaseException:
        near.close()
        raise
    finally:
        far.close()
    return process, near


def spawn(
    command: Sequence[str],
    *,
    framing: str | Framing | None = None,
    limits: Limits | None = None,
    sharing: Sharing | None = None,
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> tuple[Popen[Any], End[Any, Any]]:
    """Starts a program that connects to `pipe:`, and returns it with the near end. options: of `subprocess.Popen`.

    In the program: `prise.ipc.connect("pipe:")`, or with a framing, `prise.connect("pipe:", framing=...)`. Raises OSError.
    """
    from subprocess import Popen

    near, far = pair(framing, limits=limits, sharing=sharing) if framing is None else pair(framing, limits=limits)
    try:
        inherited = far.inheritance(env)
        inherited["pass_fds"] += tuple(options.pop("pass_fds", ()))
        return Popen(command, **inherited, **options), near
    except BaseException:
        near.close()
        raise
    finally:
        far.close()
