"""`vsock:CID:PORT`: between a virtual machine and its host, without any network (vsock(7), Linux).

The context id names the machine: `host`, `local` (this one; also where none is written), `hypervisor`, `*` (to listen
on every one of ours), or a number. Ports have 32 bits; 0 is any free one. Option `backlog` (1024).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Any

from prise.address import Address
from prise.errors import AddressError, BindError, ConnectError, PeerError, TooSlow, Unsupported
from prise.hostport import EVERY_INTERFACE
from prise.transports.base import Deadline, Endpoint, Listening, Steps
from prise.transports.dial import NobodyAnswered, race

NAMES = {"hypervisor": 0, "local": 1, "host": 2}
ANY = 0xFFFFFFFF
"""VMADDR_CID_ANY and VMADDR_PORT_ANY of <linux/vm_sockets.h>."""


def looks_up(address: Address) -> bool:
    return False


def resolve(address: Address, passive: bool) -> list[Endpoint]:
    family = getattr(socket, "AF_VSOCK", None)
    if family is None:
        raise _lacking(address)
    host = address.host or "local"
    if host == EVERY_INTERFACE:
        if not passive:
            raise AddressError(
                "* is every context id, to listen on; to connect, name one, such as {example}",
                operation="connect",
                peer=address,
                example="vsock:host:1024",
            )
        cid = ANY
    else:
        cid = NAMES[host] if host in NAMES else int(host)
    port = int(address.port or 0)
    return [Endpoint(family, socket.SOCK_STREAM, 0, (cid, port or ANY if passive else port))]


def bind(address: Address, backlog: int) -> list[Listening]:
    ((family, kind, protocol, sockaddr),) = resolve(address, passive=True)
    try:
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _lacking(address) from error
    try:
        sock.bind(sockaddr)
        sock.listen(address.setting("backlog", backlog))
        return [Listening(sock, describe(family, sock.getsockname()))]
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise _cannot_bind(address, error) from error
        raise


def _lacking(address: Address) -> Unsupported:
    return Unsupported(
        "this system has no vsock sockets (AF_VSOCK): they need Linux, and its module vsock", local=address
    )


def _cannot_bind(address: Address, error: OSError) -> BindError:
    if error.errno == errno.EADDRINUSE:
        reason = "something already listens here; stop it, or choose another port"
    elif error.errno == errno.EADDRNOTAVAIL:
        reason = (
            "this machine does not have this context id; write * for all that it has (local needs the module {module})"
        )
    elif error.errno in (errno.EACCES, errno.EPERM):
        reason = "not allowed: ports below 1024 are for root"
    else:
        reason = "the system refused: {error}"
    return BindError(
        reason,
        operation="bind",
        local=address.without_options(),
        module="vsock_loopback",
        error=error.strerror or error,
    )


def connect(address: Address, endpoints: Sequence[Endpoint], deadline: Deadline) -> Steps:
    try:
        return (yield from race(endpoints, deadline.at))
    except NobodyAnswered as nobody:
        error = nobody.failures[-1][1] if nobody.failures else OSError(errno.ETIMEDOUT, "")
        raise _explain(address, error, nobody.late, deadline) from error


def _explain(address: Address, error: OSError, late: bool, deadline: Deadline) -> PeerError | Unsupported:
    peer = address.without_options()
    if late:
        return TooSlow("no answer within {seconds:g} s", operation="connect", peer=peer, seconds=deadline.seconds)
    if error.errno == errno.EAFNOSUPPORT:
        return _lacking(address)
    if error.errno == errno.ETIMEDOUT:
        reason = "no answer; is a machine with this context id running? (local needs the module {module})"
    elif error.errno in (errno.ENODEV, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL):
        reason = "there is no way to this context id (local needs the module {module})"
    elif error.errno in (errno.ECONNRESET, errno.ECONNREFUSED):  # the first is what Linux says
        reason = "connection refused (nothing listens on port {port})"
    else:
        reason = "{error}"
    details: dict[str, Any] = {"module": "vsock_loopback", "port": address.port, "error": error.strerror or error}
    kind = TooSlow if error.errno == errno.ETIMEDOUT else ConnectError
    return kind(reason, operation="connect", peer=peer, **details)


def describe(family: int, sockaddr: object) -> Address:
    """The Address of a vsock sockaddr, (context id, port)."""
    if not isinstance(sockaddr, tuple) or len(sockaddr) != 2:
        return Address("vsock", port=0)
    cid, port = sockaddr
    names = {number: name for name, number in NAMES.items()}
    return Address("vsock", EVERY_INTERFACE if cid == ANY else names.get(cid, str(cid)), port)
