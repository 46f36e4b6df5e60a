"""Unix sockets (unix(7)): a path in the file system, or on Linux an abstract name (`@name`).

Option `type`: `stream` (bytes, as TCP), `seqpacket` (connections that keep the boundaries of messages) or `dgram` (datagrams,
without connections; a client gets a name of its own, so that it can be answered).

Options for listening: `mode`, `owner` and `group` (names or numbers) of the path, set before anybody can connect. Without a
mode the umask decides, as for every other file: the usual 022 lets only the owner connect, and a service that chose its
umask or shares a group gets what it set up. `backlog` (1024).

How a path is made ours, and never stolen: `unixpath`.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

from prise.address import Address
from prise.errors import AddressError, BindError, ConnectError, TooSlow, Unsupported
from prise.transports.base import Deadline, Endpoint, Listening, Steps, Wait
from prise.transports.datagrams import DatagramListening
from prise.transports.packetsocket import PacketSocket
from prise.transports.unixpath import OwnPath, bind_path

LONGEST_PATH = 107 if sys.platform == "linux" else 103
"""Bytes: `sun_path` of sockaddr_un has 108 (104 on the BSDs), the last one is NUL."""

FULL_PAUSE = 0.005
"""Seconds before a full backlog is tried again; doubles up to `FULL_PAUSE_MOST`. The kernel tells nobody when it has
room."""

FULL_PAUSE_MOST = 0.1

KINDS = {"stream": "SOCK_STREAM", "dgram": "SOCK_DGRAM", "seqpacket": "SOCK_SEQPACKET"}


def looks_up(address: Address) -> bool:
    return False


def resolve(address: Address, passive: bool) -> list[Endpoint]:
    if not hasattr(socket, "AF_UNIX"):
        raise Unsupported("this platform has no Unix sockets (AF_UNIX)", local=address)
    path = address.path or ""
    if not path:
        raise AddressError(
            "an unnamed Unix socket cannot be reached; give a path such as {example}", example="/run/x.sock"
        )
    if path.startswith("@") and sys.platform != "linux":
        raise Unsupported("abstract Unix names (@name) exist on Linux only; give a path", local=address)
    length = len(os.fsencode(path))
    if length > LONGEST_PATH:
        raise AddressError(
            "the path is too long: {length} bytes, a Unix socket has at most {most}; use a shorter or a relative path",
            local=address,
            length=length,
            most=LONGEST_PATH,
        )
    return [
        Endpoint(
            socket.AF_UNIX,
            getattr(socket, KINDS[address.option("type", "stream") or ""]),
            0,
            f"\0{path[1:]}" if path.startswith("@") else path,
        )
    ]


# -- Listening ---------------------------------------------------------------------------------------------------------


class UnixListening(Listening):
    """For connections. own: the path that goes when it is closed; None for an abstract name, or a socket of others."""

    __slots__ = ("_own",)

    def __init__(self, sock: socket.socket, address: Address, own: OwnPath | None = None) -> None:
        super().__init__(sock, address)
        self._own = own

    def accept(self) -> tuple[socket.socket, Any]:
        sock, sockaddr = self.socket.accept()
        return (PacketSocket.of(sock) if sock.type == socket.SOCK_SEQPACKET else sock), sockaddr

    def close(self, unlink: bool = True) -> None:
        if unlink and self._own is not None and self.socket.fileno() >= 0:
            self._own.remove()
        super().close()


class UnixDatagramListening(DatagramListening):
    """For datagrams."""

    __slots__ = ("_own",)

    def __init__(self, sock: socket.socket, address: Address, own: OwnPath | None = None) -> None:
        super().__init__(sock, address)
        self._own = own

    def close(self, unlink: bool = True) -> None:
        if unlink and self._own is not None and self.socket.fileno() >= 0:
            self._own.remove()
        super().close()


def bind(address: Address, backlog: int) -> list[Listening]:
    (endpoint,) = resolve(address, passive=True)
    abstract = endpoint.sockaddr.startswith("\0")
    given = [name for name in ("mode", "owner", "group") if address.option(name) is not None]
    if abstract and given:
        raise AddressError(
            "an abstract name has no {option}: every program of this machine can connect; give a path",
            local=address,
            option=given[0],
        )
    path = os.path.abspath(endpoint.sockaddr) if not abstract else ""
    mode, owner = address.setting("mode"), _owner(address)
    sock = _socket(address, endpoint, "bind")

    def open_to_others() -> None:
        if owner is not None:
            _give(address, path, *owner)
        if mode is not None:
            os.chmod(path, mode)
        # Only now: until a socket listens, connecting to it is refused, whatever its mode was.
        if endpoint.type != socket.SOCK_DGRAM:
            sock.listen(address.setting("backlog", backlog))

    own = None
    try:
        if abstract:
            sock.bind(endpoint.sockaddr)
            open_to_others()
        else:
            if mode is not None and sys.platform == "linux":
                # Datagrams could come as soon as it is bound: on Linux it then gets this mode (less the umask) at once.
                os.fchmod(sock.fileno(), mode)
            own = bind_path(sock, address, path, open_to_others)
        kind = UnixDatagramListening if endpoint.type == socket.SOCK_DGRAM else UnixListening
        return [kind(sock, _place(address), own)]
    except OSError as error:
        sock.close()
        if isinstance(error, BindError):
            raise
        raise _cannot_bind(address, path, error) from error
    except BaseException:
        sock.close()
        raise


def _socket(address: Address, endpoint: Endpoint, operation: str) -> socket.socket:
    make = socket.socket if endpoint.type == socket.SOCK_STREAM else PacketSocket
    try:
        return make(endpoint.family, endpoint.type)
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            raise Unsupported(
                "this platform has no Unix sockets of type {type}", local=address, type=address.option("type")
            ) from error
        if operation == "bind":
            raise _cannot_bind(address, "", error) from error
        raise ConnectError("{error}", operation=operation, peer=address, error=error.strerror) from error


def _place(address: Address) -> Address:
    """What a client needs to come here: without the options of a server."""
    kind = address.option("type")
    return Address("unix", path=address.path, options=(("type", kind),) if kind else ())


def _owner(address: Address) -> tuple[int, int] | None:
    """The numbers of owner and group, -1 for one to leave as it is. Raises BindError for an unknown name."""
    user, group = address.option("owner"), address.option("group")
    if user is None and group is None:
        return None
    import grp
    import pwd

    reason, name = "no user is called {name}", user
    try:
        uid = -1 if user is None else int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
        reason, name = "no group is called {name}", group
        gid = -1 if group is None else int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise BindError(reason, operation="bind", local=address, name=name) from None
    return uid, gid


def _give(address: Address, path: str, uid: int, gid: int) -> None:
    try:
        os.chown(path, uid, gid)
    except PermissionError as error:
        raise BindError(
            "not allowed to give the socket to {owner}: only root can, and to a group only its members; "
            "run as that user, or leave the option out",
            operation="bind",
            local=address.without_options(),
            owner=":".join(filter(None, (address.option("owner"), address.option("group")))),
        ) from error


def _cannot_bind(address: Address, path: str, error: OSError) -> BindError:
    if error.errno == errno.EADDRINUSE:
        reason = "something already listens here; stop it, or choose another path"
    elif error.errno in (errno.ENOENT, errno.ENOTDIR):
        reason = "the folder {folder} does not exist; create it first"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        reason = "not allowed to create a socket in {folder}"
    else:
        reason = "the system refused: {error}"
    return BindError(
        reason,
        operation="bind",
        local=address.without_options(),
        folder=os.path.dirname(path),
        error=error.strerror or error,
    )


# -- Dialling ----------------------------------------------------------------------------------------------------------


def connect(address: Address, endpoints: Sequence[Endpoint], deadline: Deadline) -> Steps:
    (endpoint,) = endpoints
    datagrams = endpoint.type == socket.SOCK_DGRAM
    sock = _named(address) if datagrams else _socket(address, endpoint, "connect")
    connected = False
    try:
        sock.setblocking(False)
        pause = FULL_PAUSE
        while code := sock.connect_ex(endpoint.sockaddr):
            if code != errno.EAGAIN:
                raise _cannot_connect(address, code)
            now = time.monotonic()
            if now >= deadline.at:
                raise TooSlow(
                    "no answer within {seconds:g} s (the server is there, but has too many connections waiting)",
                    operation="connect",
                    peer=address.without_options(),
                    seconds=deadline.seconds,
                )
            yield Wait((), min(now + pause, deadline.at))
            pause = min(pause * 2, FULL_PAUSE_MOST)
        connected = True
        return sock
    finally:
        if not connected:
            sock.close()


class _NamedSocket(PacketSocket):
    """A datagram socket with a path of its own, which goes with it."""

    own: OwnPath | None = None

    def close(self) -> None:
        if self.own is not None and self.fileno() >= 0:
            self.own.remove()
        super().close()


def _named(address: Address) -> socket.socket:
    """A datagram socket that can be answered: a server knows its clients by their names."""
    sock = _NamedSocket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        if sys.platform == "linux":
            sock.bind(b"")  # the kernel chooses an abstract name (unix(7), "Autobind feature")
        else:
            import tempfile

            path = os.path.join(tempfile.gettempdir(), f"prise-{os.getpid()}-{os.urandom(6).hex()}")
            sock.bind(path)
            sock.own = OwnPath(path)
    except OSError as error:
        sock.close()
        raise ConnectError(
            "no name for the answers could be had: {error}", operation="connect", peer=address, error=error.strerror
        ) from error
    return sock


def _cannot_connect(address: Address, code: int) -> ConnectError:
    if code == errno.ECONNREFUSED:
        reason = "connection refused (nothing listens on this socket)"
    elif code in (errno.ENOENT, errno.ENOTDIR):
        reason = "there is no such socket; is the server running?"
    elif code in (errno.EACCES, errno.EPERM):
        reason = "not allowed: the mode of the socket or of a folder on the way forbids it"
    elif code == errno.EPROTOTYPE:
        reason = "this socket is of another type than {type}; its type is an option: {example}"
    else:
        reason = "{error}"
    kind = address.option("type", "stream")
    return ConnectError(
        reason,
        operation="connect",
        peer=address.without_options(),
        error=os.strerror(code),
        type=kind,
        example=Address("unix", path=address.path, options=(("type", "dgram" if kind == "stream" else "stream"),)),
    )


# -- Describing --------------------------------------------------------------------------------------------------------


def describe(family: int, sockaddr: object) -> Address:
    """The Address of a Unix sockaddr: abstract names come as bytes, an unnamed socket as ''."""
    if isinstance(sockaddr, bytes) and sockaddr.startswith(b"\0"):
        return Address("unix", path=f"@{os.fsdecode(sockaddr[1:])}")
    path = os.fsdecode(sockaddr) if isinstance(sockaddr, (str, bytes)) else ""
    return Address("unix", path=f"./{path}" if path.startswith("@") else path)
