"""The messages of a file transfer, on a connection with its framing: a length of four bytes before each message.

A message is data (a zero byte, then up to 256 KiB of a file) or a JSON object (it begins with a brace) with a "type".
What arrives is checked field by field, against bounds, before anything is done with it.

While a transfer runs, each side says "wait" every 15 s from a thread of its own: one may be hashing a terabyte, or
waiting for a pipe, and is still there. A side that says nothing for two minutes is gone.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from prise import Connection, ConnectionLost, FrameError, Limits, PeerError, Prefixed, TooSlow
from prise.transfer.names import is_name

CHUNK = 256 * 1024
"""Bytes of a file in one message."""
CONTROL_SIZE = 64 * 1024
"""Bytes of a JSON message at the most."""
MOST_ENTRIES = 250_000
"""Files and folders of one transfer at the most; each costs both sides some 500 bytes."""
HEARTBEAT = 15.0

FRAMING = Prefixed(4)
LIMITS = Limits(message_size=CHUNK + 1, idle_time=8 * HEARTBEAT, message_time=600.0, write_time=None)
"""write_time: who receives may take its time (`receive ... - | less`); the kernel notices who is gone."""

_WAIT = b'{"type":"wait"}'
_BIGGEST = 2**63 - 1

REFUSALS = (
    (
        "exists",
        "{name} is here already; --overwrite replaces it",
        "{name} exists there already; --overwrite on that side replaces it",
    ),
    (
        "kind",
        "{name} is here already, or on its way, as something else (a folder, a link); move that away",
        "{name} exists there already, or on its way, as something else (a folder, a link)",
    ),
    (
        "part",
        "what is here of {name} (.part) is not the beginning of it; move it away, or give --overwrite",
        "what is there of {name} (.part) is not the beginning of it; --overwrite on that side replaces it",
    ),
    (
        "name",
        "the other side wants to write to {name}, which is not a plain name below the folder; refused",
        "the other side does not accept the name {name}",
    ),
    ("twice", "the other side sends {name} twice", "the other side says that {name} comes twice"),
    ("size", "this is more than --max-size allows", "this is more than the other side accepts (its --max-size)"),
    ("space", "there is not enough room on the disk", "the other side has not enough room on its disk"),
    (
        "many",
        "these are too many files; let the other side send an archive of them",
        "these are too many files; send an archive of them",
    ),
    ("one", "only one file can be written to standard output", "the other side takes one file only"),
    ("write", "{name} cannot be written: {cause}", "the other side cannot write {name}"),
)
"""Why a transfer is refused: the code in the message "no", what the refusing side says, what the other one says."""


def refused(code: str, name: str = "", *, there: bool = False, cause: object = "") -> PeerError:
    """The error for a refusal; there: by the other side."""
    for known, here, yonder in REFUSALS:
        if known == code:
            reason = yonder if there else here
            return PeerError(reason, name=repr(name), cause=cause)
    return PeerError("the other side refused")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder to be transferred. size: bytes, None for a stream of unknown length. mtime: nanoseconds."""

    name: str
    is_folder: bool = False
    size: int | None = 0
    mode: int = 0o644
    mtime: int | None = None


@dataclass(slots=True)
class Report:
    """What was transferred. files, size: verified on both sides, with what was there already (same). failed: names."""

    files: int = 0
    size: int = 0
    same: int = 0
    failed: list[str] = field(default_factory=list)


class Watcher:
    """Is told how a transfer goes; this one does nothing about it."""

    def begin(self, files: int, size: int | None) -> None:
        """What is to come: files, and bytes if that is known."""

    def file(self, name: str) -> None:
        """This file is next."""

    def moved(self, count: int) -> None:
        """So many bytes were sent or received."""

    def kept(self, count: int) -> None:
        """So many bytes need not be sent, because they are there."""


class Message(dict[str, Any]):
    """A JSON message whose fields are checked when they are read; FrameError for those that are not as they must be."""

    def number(self, name: str, most: int = _BIGGEST, least: int = 0) -> int:
        value = self.get(name)
        if type(value) is not int or not least <= value <= most:
            raise broken(name)
        return value

    def text(self, name: str, longest: int = 200) -> str:
        value = self.get(name)
        if not isinstance(value, str) or len(value) > longest:
            raise broken(name)
        return value

    def flag(self, name: str) -> bool:
        value = self.get(name)
        if type(value) is not bool:
            raise broken(name)
        return value

    def digest(self, name: str) -> bytes:
        """32 bytes, written in hexadecimal."""
        try:
            value = bytes.fromhex(self.text(name, 64))
        except ValueError:
            raise broken(name) from None
        if len(value) != 32:
            raise broken(name)
        return value

    def entry(self) -> Entry | None:
        """The entry that this message tells of; None when it has a name that must not be written to."""
        name = self.get("name")
        if not isinstance(name, str) or not is_name(name):
            return None
        return Entry(
            name,
            self.flag("folder"),
            None if self.get("size") is None else self.number("size"),
            self.number("mode", 0o7777) & 0o777,  # never set-user-id and the like
            None if self.get("mtime") is None else self.number("mtime", least=-_BIGGEST),
        )


def broken(field: str) -> FrameError:
    return FrameError("what arrived is not as the transfer of files demands ({field})", field=repr(field))


class Talk:
    """The messages of one transfer, over its connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def tell(self, kind: str, **fields: Any) -> None:
        self.connection.send(json.dumps({"type": kind, **fields}, separators=(",", ":")).encode())

    def data(self, chunk: bytes) -> None:
        self.connection.send(b"\0" + chunk)

    def refuse(self, code: str, index: int = -1) -> None:
        """Says no, and lets the other side hear it: what it still sends is read away, so that no reset overtakes it."""
        try:
            self.tell("no", reason=code, index=index)
            self.finish()
        except PeerError:
            pass  # it has gone by itself

    def finish(self, patience: float = 5.0) -> None:
        """Ends our side and waits until the other one has ended its own."""
        self.connection.send_eof()
        giving_up = threading.Timer(patience, self.connection.end_input)
        giving_up.daemon = True
        giving_up.start()
        try:
            for _ignored in self.connection:
                pass
        except PeerError:
            pass
        finally:
            giving_up.cancel()

    def hear(self, *kinds: str, timeout: float | None = None) -> Message:
        """The next message, which must be of one of these types. Raises FrameError; ConnectionLost at the end."""
        message = self.hear_any(timeout)
        if not isinstance(message, Message) or message["type"] not in kinds:
            raise broken("type")
        return message

    def hear_any(self, timeout: float | None = None) -> Message | memoryview:
        """The next message: data, or what is not "wait". Raises PeerError for "no", with its code and index."""
        while True:
            raw: bytes | None = self.connection.receive(timeout)
            if raw is None:
                raise cut_short()
            if raw[:1] == b"\0":
                return memoryview(raw)[1:]
            if raw != _WAIT:
                message = read(raw)
                if message["type"] == "no":
                    raise Refusal(message.text("reason"), message.number("index", MOST_ENTRIES, -1))
                return message

    def check(self) -> None:
        """Whether the other side has said no meanwhile; raises what `hear` raises, and else returns at once."""
        try:
            self.hear(timeout=0)
        except TooSlow:
            pass

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Shows the other side that we are there, until the end of the block. Whatever cuts it short is said so."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(HEARTBEAT) and self.connection.post(_WAIT):
                pass

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        except (ConnectionLost, TooSlow) as error:
            raise cut_short() from error
        finally:
            over.set()
            thread.join()


class Refusal(Exception):
    """The other side said no. Becomes the error that `refused` makes, where the name of the index is known."""

    def __init__(self, code: str, index: int) -> None:
        super().__init__(code)
        self.code = code
        self.index = index

    def error(self, entries: list[Entry]) -> PeerError:
        return refused(self.code, entries[self.index].name if 0 <= self.index < len(entries) else "", there=True)


def cut_short() -> ConnectionLost:
    return ConnectionLost("cut short; what has arrived is kept, and running the same again continues")


def read(raw: bytes) -> Message:
    """A JSON message. Raises FrameError."""
    if len(raw) > CONTROL_SIZE:
        raise broken("length")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise broken("JSON") from None
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise broken("type")
    return Message(value)
