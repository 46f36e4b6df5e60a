"""Socket activation, both sides of it: descriptors from 3 on, described by variables (sd_listen_fds(3), systemd.socket(5)).

    LISTEN_PID       the process that they are meant for: a child that inherits the variables is not meant
    LISTEN_FDS       how many
    LISTEN_FDNAMES   their names, with colons between; "unknown" where none is given

`listen_fds` takes what systemd, or whoever speaks its protocol, has passed; `serve_fds` passes sockets to a program. The address
`systemd:` (transports/fd.py) and the descriptor store (notify.py) read the variables here as well.
"""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from prise.errors import HandoverError, UsageError

FIRST = 3
"""SD_LISTEN_FDS_START."""

MOST = 1000
"""Descriptors that LISTEN_FDS may promise; whatever is beyond is not looked at."""

LONGEST_NAME = 255

STORED = "prise-stored-"
"""What the names of descriptors begin with that are not for listening: connections that were stored (notify.py)."""

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")

_taken: set[int] = set()
"""Numbers that were given away as objects, which close them: they may be somebody else's descriptors by now."""


class HasFileno(Protocol):
    """A socket, a file, or anything else with a descriptor."""

    def fileno(self) -> int: ...


class Passed(NamedTuple):
    """A descriptor that this process was started with."""

    name: str
    descriptor: int


def passed(*, stored: bool = False) -> list[Passed]:
    """What the variables promise to this very process; nothing is opened, checked or changed.

    stored: those of the descriptor store instead of all others.
    """
    pid, count = (_number(os.environ.get(name, "")) for name in ("LISTEN_PID", "LISTEN_FDS"))
    if pid != os.getpid():
        return []
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    found = []
    for index in range(min(count, MOST)):
        name = names[index] if index < len(names) and "LISTEN_FDNAMES" in os.environ else "unknown"
        if name.startswith(STORED) == stored and FIRST + index not in _taken:
            found.append(Passed(name, FIRST + index))
    return found


def listen_fds(unset: bool = True) -> list[tuple[str, socket.socket]]:
    """The sockets that were passed to this process, with their names; [] when there are none.

    Listening ones, datagram sockets and, with Accept=yes, connections: family and kind are found out. They block and are not
    inherited. What is no socket (ListenFIFO=, ListenSpecial=) is left alone, and so is what `store` has kept.
    unset: removes the variables, as the sockets are yours now. False: duplicates, so it can be called again.

    Raises HandoverError when a descriptor that was promised is not open.
    """
    found: list[tuple[str, socket.socket]] = []
    try:
        for name, descriptor in passed():
            if is_socket(descriptor):
                found.append((name, take(descriptor, duplicate=not unset)))
    except BaseException:
        for _, sock in found:
            sock.close()
        raise
    finally:
        if unset:
            forget()
    return found


def serve_fds(
    argv: Sequence[str | os.PathLike[str]],
    sockets: Iterable[HasFileno],
    names: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a program as systemd would: with these sockets as descriptors 3, 4... and the variables that say so.

    argv: the program and its arguments, without a shell; it is looked for in PATH.
    sockets: they stay ours as well, and so does their mode: a socket with a timeout arrives non-blocking.
    names: one for each; up to 255 characters of ASCII without ":" and control characters. Default: "unknown".
    env: the environment, by default ours.

    Standard input, output and error are ours. Raises HandoverError when it cannot be started, UsageError.
    """
    from prise.handover.spawn import start

    given = list(sockets)
    called = list(names) if names is not None else ["unknown"] * len(given)
    if not 0 < len(given) <= MOST:
        raise UsageError("between 1 and {most} sockets can be passed, not {count}", most=MOST, count=len(given))
    if len(called) != len(given):
        raise UsageError("{sockets} sockets need as many names, not {names}", sockets=len(given), names=len(called))
    for name in called:
        check_name(name)
    environment = {
        name: value for name, value in (os.environ if env is None else env).items() if name not in _VARIABLES
    }
    environment |= {"LISTEN_FDS": str(len(given)), "LISTEN_FDNAMES": ":".join(called)}
    descriptors = {FIRST + index: sock.fileno() for index, sock in enumerate(given)}
    return start(argv, descriptors, environment, pid_variable="LISTEN_PID")


def check_name(name: str) -> None:
    """Raises UsageError for what cannot name a descriptor (sd_is_fdname_valid of systemd: FileDescriptorName=)."""
    if len(name) > LONGEST_NAME or ":" in name or not all(" " <= each <= "~" for each in name):
        raise UsageError(
            "a descriptor's name has up to {most} characters of ASCII, without ':' and control characters; {name!r} has not",
            most=LONGEST_NAME,
            name=name,
        )


def is_socket(descriptor: int) -> bool:
    """Raises HandoverError when it is not open."""
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        raise HandoverError(
            "LISTEN_FDS promises the descriptor {number}, which is not open", number=descriptor
        ) from None


def take(descriptor: int, duplicate: bool = False) -> socket.socket:
    """A socket object for a descriptor that was passed; blocking, not inherited. It owns the descriptor, or a duplicate."""
    os.set_inheritable(descriptor, False)
    sock = socket.socket(fileno=os.dup(descriptor) if duplicate else descriptor)
    if not duplicate:
        _taken.add(descriptor)
    sock.setblocking(True)
    return sock


def take_raw(descriptor: int) -> int:
    """The same for what is no socket: the number, which nobody will be given again."""
    _taken.add(descriptor)
    os.set_inheritable(descriptor, False)
    return descriptor


def forget() -> None:
    """Removes the variables from our environment, and so from that of programs that we start."""
    for name in _VARIABLES:
        os.environ.pop(name, None)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
