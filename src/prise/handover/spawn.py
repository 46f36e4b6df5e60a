"""Starts a program that goes on with a connection: inetd style, as its standard input and output, or as descriptor N.

    spawn(["php", "worker.php"], connection)              STDIN and STDOUT are the connection
    spawn(["php", "worker.php"], connection, fd=3)        php://fd/3 is, and Channel.inherited() of a prise program

The program learns from its environment who talks, as under tcpserver (UCSPI). subprocess gives a child any descriptor as its
standard ones, but all others keep the number that they have here. So for these a small Python runs first in the new process:
it has no threads, renumbers there, and becomes the program. That costs 20 ms; inetd style costs nothing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address
from typing import Any

from prise.connection.base import BaseConnection
from prise.connection.credentials import peer_credentials
from prise.errors import HandoverError, UsageError
from prise.handover.parcel import Parcel

Argv = Sequence[str | os.PathLike[str]]

UCSPI = (
    *("PROTO", "UNIXLOCALPATH", "UNIXREMOTEPATH", "UNIXREMOTEEUID", "UNIXREMOTEEGID", "UNIXREMOTEPID"),
    *("UNIXLOCALUID", "UNIXLOCALGID", "UNIXLOCALPID", "UNIXLOCALUSER", "UNIXREMOTEUSER"),
    *(f"{family}{side}{what}" for family in ("TCP", "TCP6") for side in ("LOCAL", "REMOTE") for what in ("IP", "PORT")),
    *("TCPLOCALHOST", "TCPREMOTEHOST", "TCPREMOTEINFO", "TCP6LOCALHOST", "TCP6REMOTEHOST", "TCP6REMOTEINFO"),
    "TCP6INTERFACE",
)
"""Removed from what the program inherits: they would speak of the connection that this process was started with."""

_LAUNCHER = """
import os, signal, sys
pairs, pid, ctype, *argv = sys.argv[1:]
for pair in pairs.split(","):
    here, there = map(int, pair.split(":"))
    os.dup2(here, there)
    os.close(here)
os.environ.pop("LC_CTYPE", None)
if ctype:
    os.environ["LC_CTYPE"] = ctype
if pid:
    os.environ[pid] = str(os.getpid())
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
try:
    os.execvp(argv[0], argv)
except OSError as error:
    os.write(2, f"{argv[0]}: {error.strerror}\\n".encode())
    os._exit(126)
"""
"""Undoes what Python does to itself when it starts: it ignores two signals, and may choose LC_CTYPE (PEP 538)."""

_PIECE = 64 * 1024

_LAST_WORDS = 30.0
"""Seconds that `wait` gives the peer, after the program's end, to take what is still being relayed."""


class Program(subprocess.Popen[bytes]):
    """A program that was started. `wait` also waits until the peer has what was relayed, for 30 s at the most."""

    outwards: threading.Thread | None = None

    def wait(self, timeout: float | None = None) -> int:
        code = super().wait(timeout)
        if self.outwards is not None:
            self.outwards.join(_LAST_WORDS)
        return code


def spawn(
    argv: Argv,
    connection: Any,
    *,
    fd: int = 0,
    env: Mapping[str, str] | None = None,
    keep: bool = False,
    relay: bool = False,
) -> Program:
    """Starts a program with a connection, which is then no longer ours. Its exit status is the caller's to collect.

    argv: the program and its arguments, without a shell; it is looked for in PATH.
    connection: a socket, or a prise connection that blocks (a client's; in the models threads and processes).
    fd: 0: standard input *and* output; from 3 on: the descriptor of this very number, and nothing to read on standard input.
    stderr (and with `fd` stdout) stay ours. No other descriptor is inherited.
    env: the environment, by default ours; what UCSPI says of the connection is added (`ucspi`).
    keep: our copy stays open: both sides share the connection, and the peer sees its end when both have closed it.
    relay: what was read from the connection already, nothing can put back; and with TLS or WebSocket, what was agreed on with
    the peer is known to this process alone. By default both are errors. True: then the program gets one end of a socket pair,
    with the clear text from its beginning, and threads of this process pass on the rest.

    The socket is made blocking. Raises HandoverError when the program cannot be started, UsageError; then the connection is
    still ours. (With `fd`, what is no program for this system ends with exit code 126.)
    """
    if fd < 0 or fd in (1, 2):
        raise UsageError("a connection becomes descriptor 0 (and 1), or one from 3 on, not {fd}", fd=fd)
    parcel = Parcel(connection, keep, relay)
    theirs, ours = parcel.socket, None
    try:
        if parcel.pending and not relay:
            raise HandoverError(
                "{size} bytes were read from this connection already, which a program cannot get with it; use relay=True, or "
                "a Channel to a program that speaks prise's handover",
                size=len(parcel.pending),
            )
        if parcel.pending:
            theirs, ours = socket.socketpair()
        # Of the connection itself: the parcel may hold one end of a pair already.
        number = connection.fileno() if isinstance(connection, BaseConnection) else parcel.socket.fileno()
        with socket.socket(fileno=os.dup(number)) as sock:
            about = {**_inherited(env), **ucspi(sock)}
        process = start(argv, {fd: theirs.fileno()}, about)
    except BaseException:
        if ours is not None:
            ours.close()
            theirs.close()
        parcel.take_back()
        raise
    if ours is not None:
        theirs.close()
        process.outwards = _relay(parcel.socket.dup(), ours, parcel.pending)
    parcel.let_go()
    return process


def start(argv: Argv, descriptors: Mapping[int, int], env: Mapping[str, str], pid_variable: str = "") -> Program:
    """Starts a program with exactly these descriptors: number there -> descriptor here.

    0 stands for 1 as well. pid_variable: an environment variable that gets the program's own process id. Raises HandoverError,
    UsageError.
    """
    if isinstance(argv, str | bytes) or not argv:
        raise UsageError("argv is a list of words, the program first: use shlex.split() for a command line")
    words = [os.fspath(word) for word in argv]
    if shutil.which(words[0], path=env.get("PATH", os.defpath)) is None:  # else only the new process would find out
        raise HandoverError(
            "there is no program {program} that can be run; check the spelling, and the variable PATH", program=words[0]
        )
    copies: list[int] = []
    try:
        if set(descriptors) == {0}:
            return Program(words, stdin=descriptors[0], stdout=descriptors[0], env=env)
        if not sys.executable:  # Python is a part of another program
            raise HandoverError("no Python is known that could put the descriptor in its place; use fd=0")
        beyond = max(descriptors) + 1  # so that no copy has a number that another one is to get
        for here in descriptors.values():
            copies.append(fcntl.fcntl(here, fcntl.F_DUPFD_CLOEXEC, beyond))
        pairs = ",".join(f"{copy}:{there}" for copy, there in zip(copies, descriptors, strict=True))
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, pairs, pid_variable, env.get("LC_CTYPE", "")]
        stdin = None if pid_variable else subprocess.DEVNULL
        return Program([*launcher, *words], stdin=stdin, pass_fds=copies, env=env)
    except OSError as error:
        raise HandoverError(
            "{program} could not be started: {error}", program=words[0], error=error.strerror or error
        ) from error
    finally:
        for copy in copies:
            os.close(copy)


def ucspi(sock: socket.socket) -> dict[str, str]:
    """Who talks to whom, as environment variables: tcp-environ(5) of ucspi-tcp6, unixserver(1) of ucspi-unix.

    TCP: PROTO=TCP, TCPREMOTEIP, TCPREMOTEPORT, TCPLOCALIP, TCPLOCALPORT. IPv6: PROTO=TCP6, the same, and again as TCP6REMOTEIP...
    (an IPv4 peer of an IPv6 socket is one of TCP). Unix: PROTO=UNIX, UNIXLOCALPATH, UNIXREMOTEEUID, UNIXREMOTEEGID and, where
    the system knows, UNIXREMOTEPID. Names are not looked up. Empty for other sockets; what is gone already is left out.
    """
    if sock.type != socket.SOCK_STREAM:
        return {}
    found: dict[str, str] = {}
    ends = {"REMOTE": _end(sock.getpeername), "LOCAL": _end(sock.getsockname)}
    if sock.family == getattr(socket, "AF_UNIX", None):
        found["PROTO"] = "UNIX"
        for side, name in ends.items():
            if name:
                found[f"UNIX{side}PATH"] = os.fsdecode(name).replace("\0", "@")
        credentials = peer_credentials(sock)
        if credentials is not None:
            found |= {"UNIXREMOTEEUID": str(credentials.uid), "UNIXREMOTEEGID": str(credentials.gid)}
            if credentials.pid is not None:
                found["UNIXREMOTEPID"] = str(credentials.pid)
    elif sock.family in (socket.AF_INET, socket.AF_INET6):
        found["PROTO"] = "TCP"
        for side, end in ends.items():
            if not end:
                continue
            host, port = end[0], str(end[1])
            if sock.family == socket.AF_INET6:
                address = IPv6Address(host)
                host = str(address.ipv4_mapped or IPv6Address(int(address)))  # compressed, without its %zone
                if address.ipv4_mapped is None:
                    found |= {"PROTO": "TCP6", f"TCP6{side}IP": host, f"TCP6{side}PORT": port}
                    if end[3]:
                        found["TCP6INTERFACE"] = _interface(end[3])
            found |= {f"TCP{side}IP": host, f"TCP{side}PORT": port}
    return found


def _end(ask: Any) -> Any:
    try:
        return ask()
    except OSError:
        return None  # gone already


def _interface(number: int) -> str:
    try:
        return socket.if_indextoname(number)
    except OSError:
        return str(number)


def _inherited(env: Mapping[str, str] | None) -> dict[str, str]:
    return dict(env) if env is not None else {name: value for name, value in os.environ.items() if name not in UCSPI}


def _relay(peer: socket.socket, program: socket.socket, pending: bytes) -> threading.Thread:
    """Joins the two until both directions have ended. A thread for each: they may well be of different speed.

    Returns the one that carries what the program says.
    """
    left = [2]
    lock = threading.Lock()

    def move(source: socket.socket, target: socket.socket, first: bytes) -> None:
        try:
            target.sendall(first)
            while data := source.recv(_PIECE):
                target.sendall(data)
        except OSError:
            pass  # the target is gone: nobody takes what comes any more
        for sock, how in ((target, socket.SHUT_WR), (source, socket.SHUT_RD)):
            try:
                sock.shutdown(how)
            except OSError:
                pass  # down already
        with lock:
            left[0] -= 1
            over = not left[0]
        if over:
            peer.close()
            program.close()

    for direction in ((peer, program, pending), (program, peer, b"")):
        thread = threading.Thread(target=move, args=direction, name="prise: relays to a program", daemon=True)
        thread.start()
    return thread
