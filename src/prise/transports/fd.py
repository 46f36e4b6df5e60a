"""`fd:N`, `stdio:` and `systemd:NAME`: sockets and other descriptors that this process was started with.

fd:N      dialled: a duplicate of the descriptor. Listened on: a listening socket gives its connections; anything else is
          itself the one conversation that there will be.
stdio:    the same for standard input and output together; under inetd both are one socket, which may also be a listening
          one (inetd's "wait", systemd's Accept=no with StandardInput=socket).
systemd:  listened on: the sockets that systemd passes to a service (sd_listen_fds(3)), all of them or those called NAME
          (FileDescriptorName= of the socket unit). With Accept=yes they are connections already.

A socket is used as it is, whatever its family; for pipes, terminals and files see `pump`. The descriptors themselves stay
open and stay the caller's: a peer that waits for the end of a pipe sees it when this process ends.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from prise.address import Address
from prise.errors import BindError, ConnectError, UsageError
from prise.transports.base import Deadline, Endpoint, Listening, OnceListening, Steps
from prise.transports.pump import pump


def looks_up(address: Address) -> bool:
    return False


def resolve(address: Address, passive: bool) -> list[Endpoint]:
    """None: they are open already."""
    return []


# -- Listening ---------------------------------------------------------------------------------------------------------


def bind(address: Address, backlog: int) -> list[Listening]:
    try:
        if address.scheme == "systemd":
            return _bind_all(address, _passed(address))
        if address.scheme == "fd":
            return _bind_all(address, [int(str(address.path))])
        for descriptor in (0, 1):
            _check(address, descriptor, listening=True)
        if _is_one_socket():
            return _bind_all(address, [0])
        return [OnceListening(address, partial(_stdio, address))]
    except OSError as error:
        if isinstance(error, BindError):
            raise
        raise BindError("{error}", operation="bind", local=address, error=error.strerror or error) from error


def _bind_all(address: Address, descriptors: list[int]) -> list[Listening]:
    opened: list[Listening] = []
    try:
        for descriptor in descriptors:
            opened.append(_bind_one(address, descriptor))
    except BaseException:
        for listening in opened:
            listening.close()
        raise
    return opened


def _bind_one(address: Address, descriptor: int) -> Listening:
    _check(address, descriptor, listening=True)
    if not _is_socket(descriptor):
        return OnceListening(address, partial(_open, address, descriptor))
    sock = _duplicate(descriptor)
    try:
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return adopt(sock)
        try:
            sock.getpeername()
        except OSError:
            if sock.type == socket.SOCK_DGRAM:
                return adopt(sock)
            raise BindError(
                "the socket neither listens nor is connected; whoever passes it must call listen() first",
                operation="bind",
                local=address,
            ) from None
    except BaseException:
        sock.close()
        raise
    sock.close()
    return OnceListening(address, partial(_open, address, descriptor))


def adopt(sock: socket.socket, path: str | None = None) -> Listening:
    """A socket that somebody else has bound, for connections or datagrams.

    path: of a Unix socket that is ours from now on, so that it is removed at the end; None: it stays.
    """
    from prise.transports import describe

    place = describe(sock.family, sock.getsockname(), sock.type)
    if sock.family == getattr(socket, "AF_UNIX", None):
        from prise.transports.unix import KINDS, UnixDatagramListening, UnixListening
        from prise.transports.unixpath import OwnPath

        kind = next((name for name, constant in KINDS.items() if getattr(socket, constant) == sock.type), "stream")
        place = Address("unix", path=place.path, options=(("type", kind),) if kind != "stream" else ())
        own = OwnPath(os.path.abspath(path)) if path and path[0] != "@" and os.path.lexists(path) else None
        made = UnixDatagramListening if sock.type == socket.SOCK_DGRAM else UnixListening
        return made(sock, place, own)
    if sock.type == socket.SOCK_DGRAM:
        from prise.transports.datagrams import DatagramListening

        return DatagramListening(sock, place, answers_from=place.host in ("0.0.0.0", "::"))
    return Listening(sock, place)


def _passed(address: Address) -> list[int]:
    """What systemd has passed. The variables stay, because several addresses may refer to them."""
    from prise.handover.activation import passed

    given = passed()
    if not given:
        raise BindError(
            "systemd has passed no sockets to this process (LISTEN_PID and LISTEN_FDS do not say so); "
            "start it by a socket unit, or try it with systemd-socket-activate",
            operation="bind",
            local=address,
        )
    for each in given:
        _check(address, each.descriptor, listening=True)
        os.set_inheritable(each.descriptor, False)
    wanted = str(address.path or "")
    found = [each.descriptor for each in given if wanted in ("", each.name)]
    if not found:
        raise BindError(
            "systemd has passed no socket called {name}; their names are: {names}",
            operation="bind",
            local=address,
            name=repr(wanted),
            names=", ".join(dict.fromkeys(each.name for each in given if each.name)) or "-",
        )
    return found


# -- Dialling ----------------------------------------------------------------------------------------------------------


def connect(address: Address, endpoints: Sequence[Endpoint], deadline: Deadline) -> Steps:
    yield from ()  # it is connected already
    if address.scheme == "systemd":
        raise UsageError(
            "systemd passes sockets to listen on; there is nothing to connect to", operation="connect", peer=address
        )
    try:
        sock = _stdio(address) if address.scheme == "stdio" else _open(address, int(str(address.path)))
    except OSError as error:
        if isinstance(error, ConnectError):
            raise
        raise _cannot_open(address, error) from error
    sock.setblocking(False)
    return sock


def _stdio(address: Address) -> socket.socket:
    for descriptor in (0, 1):
        _check(address, descriptor)
    return _open(address, 0) if _is_one_socket() else _pump(address, 0, 1)


def _is_one_socket() -> bool:
    """Whether standard input and output are the same socket, as under inetd."""
    return _is_socket(0) and os.path.samestat(os.fstat(0), os.fstat(1))


def _cannot_open(address: Address, error: OSError) -> ConnectError:
    return ConnectError("{error}", operation="connect", peer=address, error=error.strerror or error)


def _open(address: Address, descriptor: int) -> socket.socket:
    """A socket for this descriptor. Raises ConnectError."""
    _check(address, descriptor)
    if not _is_socket(descriptor):
        import fcntl

        access = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        reader = None if access == os.O_WRONLY else descriptor
        return _pump(address, reader, None if access == os.O_RDONLY else descriptor)
    sock = _duplicate(descriptor)
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise ConnectError(
            "this socket listens; it is an address to listen on, not to connect to", operation="connect", peer=address
        )
    from prise.transports.packetsocket import PacketSocket

    return sock if sock.type == socket.SOCK_STREAM else PacketSocket.of(sock)


def _pump(address: Address, reader: int | None, writer: int | None) -> socket.socket:
    mine: list[int | None] = []
    try:
        for descriptor in (reader, writer):
            # One and the same stays one: a terminal's end is the end of both directions.
            mine.append(mine[0] if mine and descriptor == reader else _dup(descriptor))
    except OSError as error:
        for each in {each for each in mine if each is not None}:
            os.close(each)
        raise _cannot_open(address, error) from error
    return pump(*mine, name=str(address))


def _dup(descriptor: int | None) -> int | None:
    return None if descriptor is None else os.dup(descriptor)


def _duplicate(descriptor: int) -> socket.socket:
    """The same socket again; family and type are asked of it."""
    mine = os.dup(descriptor)
    try:
        return socket.socket(fileno=mine)
    except BaseException:
        os.close(mine)
        raise


def _is_socket(descriptor: int) -> bool:
    return stat.S_ISSOCK(os.fstat(descriptor).st_mode)


def _check(address: Address, descriptor: int, *, listening: bool = False) -> None:
    """Raises BindError or ConnectError for a descriptor that is not open."""
    try:
        os.fstat(descriptor)
    except OSError:
        _not_open(address, descriptor, listening)


def _not_open(address: Address, descriptor: int, listening: bool) -> NoReturn:
    found = _open_ones()
    reason = "the descriptor {number} is not open; open are: {open}" if found else "the descriptor {number} is not open"
    if listening:
        raise BindError(reason, operation="bind", local=address, number=descriptor, open=", ".join(found))
    raise ConnectError(reason, operation="connect", peer=address, number=descriptor, open=", ".join(found))


def _open_ones() -> list[str]:
    """The numbers of the first open descriptors; none where /dev/fd is missing, as in many a chroot(2)."""
    try:
        names = os.listdir("/dev/fd")
    except OSError:
        return []
    found = []
    for name in sorted(filter(str.isdecimal, names), key=int)[:100]:
        try:
            os.fstat(int(name))
            found.append(name)
        except OSError:
            pass  # that with which the folder was read
    return found
