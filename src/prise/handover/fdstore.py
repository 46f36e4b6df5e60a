"""Connections that outlive their process: kept by the service manager, and given to the next one (FDSTORE=1 of sd_notify(3)).

    before the end     store(connection, state={"name": "ada"})  ...  barrier()
    after the start    for received in stored(): received.connection("lines")

A manager keeps descriptors and nothing else. So what belongs to a connection is kept in one as well: a sealed memfd, with what
would go over a channel (frame.py). Both have the same name, and the memfd says which socket it is about (its inode), whatever
order they come back in. The unit needs FileDescriptorStoreMax= of twice the connections; docs/systemd.md has an example.
"""

from __future__ import annotations

import fcntl
import logging
import os
from typing import Any

from prise.errors import HandoverProtocolError, PriseError, Unsupported
from prise.handover.activation import STORED, check_name, is_socket, passed, take, take_raw
from prise.handover.frame import LENGTH, decoded, encoded, header_size
from prise.handover.notify import notify
from prise.handover.parcel import Parcel
from prise.handover.received import Received, check, unpacked
from prise.handover.wire import Frame

log = logging.getLogger("prise")


def store(connection: Any, state: Any = None, name: str | None = None, *, keep: bool = False) -> bool:
    """Gives a connection to the service manager, until the next process of this service asks for it with `stored`.

    connection: a socket, a listening one too, or a prise connection that blocks, with the bytes that it has read already.
    state: what the next process is to know, as JSON says it. name: for `systemctl` and people, and to `remove` it by; must be
    unique, and is by default. keep: our copy stays open, and the connection goes on here until this process ends.

    False when there is no manager (NOTIFY_SOCKET is not set): then it is still ours. A manager does not say whether it has kept
    it; it keeps no more than FileDescriptorStoreMax= allows, and closes the rest. Call `barrier()` before the process ends.
    Raises HandoverError when it cannot be given away (TLS), or the manager not be told, and then it is still ours; UsageError,
    Unsupported.
    """
    if not os.environ.get("NOTIFY_SOCKET"):
        return False
    parcel = Parcel(connection, keep)
    try:
        inode = os.fstat(parcel.socket.fileno()).st_ino
        called = STORED + (name if name is not None else f"{os.getpid()}-{inode}")
        check_name(called)
        head = encoded(
            "handover",
            parcel.pending,
            kind=parcel.kind,
            peer=parcel.peer,
            local=parcel.local,
            state=state,
            socket=inode,
        )
        memory = _sealed(head + parcel.pending)
        try:
            # FDPOLL=0: else the manager would drop the socket of a peer that leaves meanwhile, and keep the other half.
            notify(FDSTORE=1, FDPOLL=0, FDNAME=called, descriptors=[parcel.socket.fileno(), memory])
        finally:
            os.close(memory)
    except BaseException:
        parcel.take_back()
        raise
    parcel.let_go()
    return True


def stored() -> list[Received]:
    """The connections that a process before us has stored, as if they had come over a channel; [] without any.

    Each is given once, and the manager is told to keep it no longer. Call it before `listen_fds()`, which removes the
    variables. `received.header["name"]` is the name that it was stored under. What does not fit together is logged and closed.
    """
    sockets: dict[int, int] = {}  # inode -> descriptor
    memories: list[tuple[str, int]] = []
    names: dict[str, None] = {}
    for name, descriptor in passed(stored=True):
        names[name] = None
        try:
            if is_socket(descriptor):
                sockets[os.fstat(descriptor).st_ino] = take(descriptor).detach()
            else:
                memories.append((name, take_raw(descriptor)))
        except PriseError as error:  # it is not open
            log.error("%s", error)
    found = []
    for name, memory in memories:
        try:
            header, pending = _read(memory)
            one = sockets.pop(header.get("socket", -1), None)
            header["name"] = name.removeprefix(STORED)
            frame = Frame(header, [one] if one is not None else [], pending)
            check(frame)
            found.append(unpacked(frame, None))
        except (PriseError, OSError, TypeError) as error:
            log.error("a stored connection (%s) cannot be taken back: %s", name.removeprefix(STORED), error)
        finally:
            os.close(memory)
    for descriptor in sockets.values():
        log.error("a stored connection cannot be taken back: nothing is known about the descriptor %d", descriptor)
        os.close(descriptor)
    for name in names:
        try:
            remove(name.removeprefix(STORED))
        except PriseError as error:
            log.warning("%s", error)
    return found


def remove(name: str) -> bool:
    """Has the manager close what was stored under this name. False when there is no manager. Raises HandoverError."""
    return notify(FDSTOREREMOVE=1, FDNAME=STORED + name)


def _sealed(data: bytes) -> int:
    """A memfd with these bytes, which nobody can change any more (memfd_create(2))."""
    if not hasattr(os, "memfd_create"):
        raise Unsupported("this platform has no memfd, in which a stored connection's state is kept")
    memory = os.memfd_create("prise", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(memory, view) :]
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(memory)
        raise
    return memory


def _read(memory: int) -> tuple[dict[str, Any], bytes]:
    """What `_sealed` was given. Positions are given, as all copies of a descriptor share one. Raises HandoverProtocolError."""
    size = header_size(_exactly(memory, LENGTH.size, 0))
    header = decoded(_exactly(memory, size, LENGTH.size))
    return header, _exactly(memory, header["pending"], LENGTH.size + size)


def _exactly(memory: int, size: int, start: int) -> bytes:
    data = os.pread(memory, size, start)
    if len(data) != size:
        raise HandoverProtocolError("what was stored with a connection is cut short")
    return data
