"""FTP's data connections: each file and each list has one of its own, made for it and ended with it.

They always lead to the host of the control connection, wherever PASV points (RFC 2577 §3). Where it names another public address,
the session ends: that is no server behind a translated address, which names its inner one, but a mistake or worse. EPSV, which is
tried first, names none. In active mode (the option `active`) the server connects to us, and nobody else may.

A transfer is whole only when the server says so (226) behind its end; without TLS an end alone proves nothing.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from prise.address import Address
from prise.errors import ConnectionLost, ProtocolError, Refused
from prise.protocols.ftp.control import ControlTalk
from prise.protocols.reply import Reply
from prise.protocols.steps import Accept, Close, Dial, End, Listen, Peer, Receive, Send, StartTLS, Steps

MOST_READ_AWAY = 1024 * 1024
"""Bytes of a transfer that is left in the middle."""

SOON = 1.0
"""Seconds for each piece of them."""

_EPSV = re.compile(r"\(([!-~])\1\1([0-9]{1,5})\1\)")  # RFC 2428 §3
_PASV = re.compile(r"([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3})")  # RFC 959 §4.1.2


@dataclass(slots=True)
class Transfer:
    """What is under way. link: its data connection. operation: the command that began it. left: bytes that are still to come,
    None where nobody knows. broken: the server takes no more."""

    link: int
    operation: str
    left: int | None = None
    broken: bool = False


class DataTalk(ControlTalk):
    """active: the server connects to us, which few firewalls allow; by default we connect to it (passive)."""

    options_known = ("active",)
    _transfer: Transfer | None = None
    _extended = True  # the server knows EPSV and EPRT, as far as we know

    # -- the beginning -------------------------------------------------------------------------------------------------

    def _start(self, command: str, offset: int = 0, size: int | None = None) -> Steps[None]:
        """Has the server begin with a transfer. offset: where in the file (REST, RFC 3659 §5). size: bytes to come, if known."""
        active = bool(self.options.more.get("active"))
        link = None
        if active:
            yield from self._invite()
        else:
            link = yield from self._reach()
        try:
            if offset:
                yield from self._command(f"REST {offset}")
            reply = yield from self._ask(command)
            if reply.kind != 1:
                raise self._refusal(reply, command)
        except Refused:
            if link is not None:
                yield Close(link)
            raise
        if link is None:
            link = yield from self._guest()
        self._transfer = Transfer(link, command.partition(" ")[0], size)
        if self.encrypted:
            yield StartTLS(link)

    def _reach(self) -> Steps[int]:
        """Passive: we connect to a port that the server opens."""
        if self._extended:
            reply = yield from self._ask("EPSV")
            if reply.kind == 2:
                link: int = yield Dial(extended_port(reply))
                return link
            self._extended = False
        host, port = passive_address((yield from self._command("PASV")))
        server: Address = yield Peer()
        if elsewhere(host, server.host):
            raise ProtocolError(
                "the server wants the data connection to go elsewhere, to {host}; it only goes to {server}",
                operation="PASV",
                peer=self.target,
                host=host,
                server=server.host,
            )
        if self._tracing and host != server.host:
            self.trace("*", f"{host} is left aside for {server.host}")
        link = yield Dial(port)
        return link

    def _invite(self) -> Steps[None]:
        """Active: we open a port and tell the server."""
        address: Address = yield Listen()
        host, port = (address.host or "").partition("%")[0], int(address.port or 0)
        if self._extended:
            family = 2 if ":" in host else 1
            reply = yield from self._ask(f"EPRT |{family}|{host}|{port}|")
            if reply.kind == 2:
                return
            if family == 2:
                raise self._refusal(reply, "EPRT")
            self._extended = False
        yield from self._command(f"PORT {host.replace('.', ',')},{port >> 8},{port & 255}")

    def _guest(self) -> Steps[int]:
        link: int = yield Accept()
        guest: Address = yield Peer(link)
        server: Address = yield Peer()
        if guest.host != server.host:
            raise ProtocolError(
                "the data connection came from {guest}, not from the server",
                operation="accept",
                peer=self.target,
                guest=guest.host,
            )
        return link

    # -- the bytes -----------------------------------------------------------------------------------------------------

    def _next(self, seconds: float | None = None) -> Steps[bytes]:
        """The next bytes of what comes; b"" behind the end of what has come whole, or where nothing comes within `seconds` (None:
        the usual limit, and TooSlow). Raises ConnectionLost, Refused."""
        transfer = self._transfer
        assert transfer is not None
        lost: ConnectionLost | None = None
        try:
            data: bytes | None = yield Receive(seconds, transfer.link)
        except ConnectionLost as error:
            data, lost = b"", error
        if data is None:
            return b""
        if data:
            if transfer.left is not None:
                transfer.left -= len(data)
            return data
        self._transfer = None
        yield Close(transfer.link)
        self._check((yield from self._final()), transfer)
        if transfer.left is not None and transfer.left > 0:
            raise ConnectionLost(
                "cut short: {left} bytes less came than the server had announced",
                operation=transfer.operation,
                peer=self.target,
                left=transfer.left,
            )
        if lost is not None and transfer.left is None:
            raise lost
        return b""

    def _send(self, piece: bytes) -> Steps[bool]:
        """False: the server takes no more, and `_sent` hears why."""
        transfer = self._transfer
        assert transfer is not None
        try:
            if piece:
                yield Send(piece, transfer.link)
        except ConnectionLost:
            transfer.broken = True
        return not transfer.broken

    def _sent(self) -> Steps[None]:
        """That was all: hears that it has arrived. Raises Refused, ConnectionLost."""
        transfer = self._transfer
        assert transfer is not None
        if not transfer.broken:
            # Our half only: to close before the server's own end could reset the connection, and lose what is on its way.
            try:
                yield End(transfer.link)
            except ConnectionLost:
                transfer.broken = True
        reply = yield from self._final()
        self._transfer = None
        yield Close(transfer.link)
        self._check(reply, transfer)
        if transfer.broken:
            raise ConnectionLost(
                "the data connection broke before all was sent", operation=transfer.operation, peer=self.target
            )

    # -- the end -------------------------------------------------------------------------------------------------------

    def _check(self, reply: Reply, transfer: Transfer) -> None:
        """What the server says behind the end."""
        self._refuse_farewell(reply, transfer.operation)
        if reply.kind != 2:
            raise self._refusal(reply, transfer.operation)

    def _abandon(self) -> Steps[None]:
        """Leaves a transfer in the middle; the session goes on, unless the server takes it badly (ProFTPD with TLS does).

        A short rest is read away, since that hurts nobody. Else the server sees its data connection closed, and says so. ABOR
        would not be better: some answer it once, some twice, and some only behind the end.
        """
        transfer = self._transfer
        if transfer is None:
            return
        sends, taken = transfer.operation in ("STOR", "APPE"), 0
        while self._transfer is not None and not sends and taken + (transfer.left or 0) <= MOST_READ_AWAY:
            piece = yield from self._next(SOON)
            if not piece:
                break
            taken += len(piece)
        if self._transfer is not None:
            self._transfer = None
            yield Close(transfer.link)
            yield from self._final()


def extended_port(reply: Reply) -> int:
    """The port of an answer to EPSV. Raises ProtocolError."""
    found = _EPSV.search(reply.text)
    port = int(found.group(2)) if found else 0
    if not 0 < port < 65536:
        raise ProtocolError("the server's answer has no port", operation="EPSV")
    return port


def passive_address(reply: Reply) -> tuple[str, int]:
    """The host and the port of an answer to PASV. Raises ProtocolError."""
    found = _PASV.search(reply.text)
    numbers = [int(number) for number in found.groups()] if found else []
    if not numbers or max(numbers) > 255 or not (port := numbers[4] << 8 | numbers[5]):
        raise ProtocolError("the server's answer has no address", operation="PASV")
    return ".".join(map(str, numbers[:4])), port


def elsewhere(told: str, server: str | None) -> bool:
    """Whether the address of a PASV is another one than the server's, and one that all can reach.

    server: None or a name where its address is not known here, behind a proxy or a Unix socket.
    """
    try:
        known = ipaddress.ip_address(server or "")
    except ValueError:
        return False
    address = ipaddress.ip_address(told)
    return address != known and address.is_global
