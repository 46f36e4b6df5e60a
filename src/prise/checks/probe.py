"""One look at one target: every address behind the name is tried and timed, the first that answers is spoken with.

Everything waits for a bounded time, and what is read is bounded.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import time
from dataclasses import dataclass, field
from typing import Any

from prise import Address, ConnectError, FrameError, PriseError, TLSError, TooSlow
from prise.checks.target import Target
from prise.transports import describe, resolve

GREETING_TIME = 0.5
"""Seconds in which a server that speaks first has spoken."""
UDP_TIME = 1.0
GREETING_SIZE = 512
MOST_ADDRESSES = 16


@dataclass(slots=True)
class Attempt:
    """One address. seconds: how long it took to connect; problem: why it did not."""

    address: str
    seconds: float
    problem: PriseError | None = None


@dataclass(slots=True)
class Result:
    """problem: the first thing that is wrong, None when all is well. facts: what was found (JSON-like)."""

    target: Target
    problem: PriseError | None = None
    attempts: list[Attempt] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[PriseError] = field(default_factory=list)


def check(target: Target, *, timeout: float = 5.0) -> Result:
    """Looks at a target. timeout: seconds for each step (a connection, a handshake, an answer)."""
    result = Result(target)
    try:
        if target.udp:
            _check_udp(result, min(timeout, UDP_TIME))
        else:
            if target.address.scheme == "unix":
                _look_at_path(result)
            sock = _connect(result, timeout)
            with sock:
                _speak(result, sock, timeout)
    except PriseError as error:
        result.problem = error
    return result


def _connect(result: Result, timeout: float) -> socket.socket:
    """Tries every address; returns the first connection. Raises what the first address said when none answers."""
    first: socket.socket | None = None
    for family, kind, protocol, sockaddr in resolve(result.target.address)[:MOST_ADDRESSES]:
        began = time.perf_counter()
        sock = socket.socket(family, kind, protocol)
        problem: PriseError | None = None
        try:
            sock.settimeout(timeout)
            sock.connect(sockaddr)
        except OSError as error:
            problem = explain(error, result.target.address, timeout)
            sock.close()
        else:
            if first is None:
                first = sock
            else:
                sock.close()
        where = sockaddr if isinstance(sockaddr, (str, bytes)) else describe(family, sockaddr)
        shown = str(result.target.address) if isinstance(where, (str, bytes)) else str(where)
        result.attempts.append(Attempt(shown, time.perf_counter() - began, problem))
    if first is None:
        raise result.attempts[0].problem or ConnectError("no address was found")
    return first


def explain(error: OSError, address: Address, timeout: float) -> PriseError:
    """What a failed connection means, and what to try."""
    if isinstance(error, TimeoutError):
        return TooSlow(
            "no answer within {seconds:g} s: a firewall drops what is sent, or the host is off or not the right one",
            seconds=timeout,
        )
    code = error.errno
    if address.scheme == "unix" and code == errno.ECONNREFUSED:
        return ConnectError("refused: the socket is there, but nothing listens on it; start its server again")
    if code == errno.ECONNREFUSED:
        return ConnectError(
            "refused: nothing listens on port {port}; is the server running, and on this port?", port=address.port
        )
    if code in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN):
        return ConnectError("unreachable: no route leads there; check the network and the address")
    if code in (errno.EACCES, errno.EPERM):
        return ConnectError("not allowed: a firewall of this machine, or the mode of the socket, forbids it")
    if code == errno.EPROTOTYPE:
        return ConnectError("this is a socket of another kind (datagrams, perhaps), not a stream")
    if code == errno.EAGAIN:
        return TooSlow("the server is there, but does not take connections: its queue is full")
    return ConnectError("{error}", error=error.strerror or error)


def _speak(result: Result, sock: socket.socket, timeout: float) -> None:
    """The protocol that the target should speak, or else a greeting."""
    target = result.target
    if sock.family == socket.AF_UNIX:
        _add_peer(result, sock)
    if target.tls:
        from prise.checks.tls import check_tls

        secured = check_tls(result, sock, timeout)
        if secured is None:
            return
        sock = secured
    with sock:
        sock.settimeout(timeout)
        if target.websocket or target.http:
            from prise.checks.web import check_http, check_websocket

            (check_websocket if target.websocket else check_http)(result, sock)
        else:
            data = greeting(sock)
            if data:
                result.facts["greeting"] = data.decode(errors="replace").rstrip("\r\n")
            if data[:2] == b"\x15\x03":
                raise FrameError("TLS is spoken here: check it with --tls, and connect with tls:")


def greeting(sock: socket.socket) -> bytes:
    """What the server says first, if it does so soon: a line, or what there is."""
    data = b""
    until = time.monotonic() + GREETING_TIME
    try:
        while len(data) < GREETING_SIZE and b"\n" not in data and (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            if not (piece := sock.recv(GREETING_SIZE - len(data))):
                break
            data += piece
    except OSError as error:
        if "CERTIFICATE_REQUIRED" in (getattr(error, "reason", None) or ""):  # TLS 1.3 says so after the handshake
            raise TLSError("the server wants a client certificate") from None
    return data


def _look_at_path(result: Result) -> None:
    """What the file system knows of a Unix socket. Raises ConnectError when there is none."""
    path = str(result.target.address.path)
    if path.startswith("@"):
        return
    try:
        found = os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise ConnectError("there is no such socket; is its server running, and is the path right?") from None
        raise ConnectError("the path cannot be looked at: {error}", error=error.strerror) from None
    import pwd

    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    result.facts["unix"] = {"mode": stat.filemode(found.st_mode), "owner": owner}
    if not stat.S_ISSOCK(found.st_mode):
        raise ConnectError("there is a file of this name, but it is not a socket")


def _add_peer(result: Result, sock: socket.socket) -> None:
    """Who listens (SO_PEERCRED of unix(7)): the process that called listen, where the system tells."""
    if hasattr(socket, "SO_PEERCRED"):
        pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        result.facts.setdefault("unix", {}).update(pid=pid, uid=uid)


def _check_udp(result: Result, timeout: float) -> None:
    """UDP has no connection: only an answer, or an ICMP message that refuses it, tells anything."""
    result.facts["udp"] = "open or filtered"
    for family, _kind, _protocol, sockaddr in resolve(result.target.address)[:MOST_ADDRESSES]:
        began = time.perf_counter()
        problem: PriseError | None = None
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(timeout)
            try:
                sock.connect(sockaddr)
                sock.send(b"\r\n")
                sock.recv(GREETING_SIZE)
                result.facts["udp"] = "open"
            except TimeoutError:
                pass
            except OSError as error:
                problem = explain(error, result.target.address, timeout)
        result.attempts.append(Attempt(str(describe(family, sockaddr)), time.perf_counter() - began, problem))
    if all(attempt.problem for attempt in result.attempts):
        del result.facts["udp"]
        raise result.attempts[0].problem or ConnectError("no address was found")
