"""What a user does with the files and folders of an FTP server. Paths are those of the server, from where it has us (`cwd`)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import ClassVar, TypeAlias

from prise.errors import MessageTooLarge, NotFound, ProtocolError, Refused, UsageError
from prise.protocols.entry import Entry
from prise.protocols.ftp.data import DataTalk
from prise.protocols.ftp.listing import Lines, read_entries, read_facts, read_line, read_size, read_time, write_time
from prise.protocols.session import content, procedure, streaming
from prise.protocols.source import Data, Source
from prise.protocols.steps import Flow, Items, Steps

MOST_HELD = 1_000_000
"""Entries of one folder, where all of them have to be there before the next command."""

MOST_LISTED = 128 * 1024 * 1024
"""Bytes of such a list."""

List: TypeAlias = list  # in the class, `list` is the verb


def _now() -> datetime:
    return datetime.now(UTC)


class FilesTalk(DataTalk):
    """clock: what the year of a file is guessed from that LIST shows without; the one thing here that is not the server's."""

    clock: ClassVar[Callable[[], datetime]] = staticmethod(_now)

    # -- lists ---------------------------------------------------------------------------------------------------------

    @streaming
    def list(self, name: str | None = None) -> Steps[Flow[Entry]]:
        """What is in a folder, without itself and the one above. name: by default that of the URL; "" is where we are.

        kind: "file", "folder", "link" or "other". size: of files. modified: in UTC, to the second (MLSD); of older servers
        (LIST) as they write it, see `listing.py`. facts: the rest: "unix.mode", "perm", "target"... Raises NotFound, Refused.
        """
        path = self._path(name)
        if not self._has_facts:
            entries = yield from self._folder(path)

            def held() -> Steps[None]:
                yield Items(entries)

            return Flow(held(), len(entries))
        yield from self._start(_with("MLSD", path))

        def told() -> Steps[None]:
            lines = Lines()
            while data := (yield from self._next()):
                yield Items(read_entries(lines.feed(data)))
            yield Items(read_entries(lines.end()))

        return Flow(told(), leave=self._abandon)

    @property
    def _has_facts(self) -> bool:
        return "MLST" in self.features or "MLSD" in self.features

    def _folder(self, path: str) -> Steps[List[Entry]]:
        """All that is in a folder, at once."""
        if self._has_facts:
            return read_entries((yield from self._text(_with("MLSD", path))))
        if not path:
            return (yield from self._listed())
        # As an argument of LIST, spaces, stars and a dash in front would mean something of their own to many servers.
        here = yield from self.pwd.steps()
        yield from self._command(f"CWD {path}")
        refused: Refused | None = None
        entries: List[Entry] = []
        try:
            entries = yield from self._listed()
        except Refused as error:  # behind any other error nothing can be said any more
            refused = error
        yield from self._command(f"CWD {here}")
        if refused is not None:
            raise refused
        return entries

    def _listed(self) -> Steps[List[Entry]]:
        """LIST, with the files whose name begins with a dot where the server knows `-a`, which is in no RFC."""
        yield from self._transfer_as("A")
        try:
            lines = yield from self._text("LIST -a")
        except Refused:
            lines = []
        if not lines:  # not even the folder itself: it has looked for a file -a
            lines = yield from self._text("LIST")
        now = type(self).clock()
        return [entry for line in lines if (entry := read_line(line, now)) is not None]

    def _text(self, command: str) -> Steps[List[str]]:
        """The lines that come over a data connection."""
        yield from self._start(command)
        lines, found, size = Lines(), List[str](), 0
        while data := (yield from self._next()):
            found += lines.feed(data)
            size += len(data)
            if len(found) > MOST_HELD:
                raise ProtocolError("the list has more than {limit} lines", operation=command, limit=MOST_HELD)
            if size > MOST_LISTED:
                raise MessageTooLarge("the list has more than {limit} bytes", operation=command, limit=MOST_LISTED)
        return found + lines.end()

    @procedure
    def stat(self, name: str | None = None) -> Steps[Entry]:
        """One file or folder, as `list` would show it. Raises NotFound, Refused."""
        path = self._path(name)
        if self._has_facts:
            reply = yield from self._command(_with("MLST", path))
            for line in reply.lines[1:-1]:
                if (entry := read_facts(line.removeprefix(" "))) is not None:
                    return Entry(
                        path or entry.name, entry.kind, size=entry.size, modified=entry.modified, facts=entry.facts
                    )
            raise ProtocolError("the server's answer has no facts", operation="MLST", peer=self.target)
        folder, _, last = path.rstrip("/").rpartition("/")
        if not last:
            return Entry(path, "folder")
        for entry in (yield from self._folder(folder or ("/" if path.startswith("/") else ""))):
            if entry.name == last:
                return Entry(path, entry.kind, size=entry.size, modified=entry.modified, facts=entry.facts)
        raise NotFound("there is no {name} on the server", operation="LIST", peer=self.target, name=repr(path))

    @procedure
    def exists(self, name: str) -> Steps[bool]:
        """Whether there is such a file or folder. Raises Refused where the server does not say."""
        try:
            yield from self.stat.steps(name)
        except NotFound:
            return False
        return True

    # -- files ---------------------------------------------------------------------------------------------------------

    @content
    def get(self, name: str | None = None, offset: int = 0) -> Steps[Flow[bytes]]:
        """A file. name: by default that of the URL. offset: bytes to leave out at the beginning, to go on with a part.

        size: of what comes, without what is left out. Left in the middle, the session goes on. Raises NotFound, Refused;
        ConnectionLost when less comes than was announced.
        """
        path = self._file(name)
        if (self.target.place if name is None else name).endswith("/"):
            raise UsageError(
                "a name that ends in / is a folder: list it, or get all that is in it (get -r, get_tree)",
                peer=self.target,
            )
        _check_offset(offset)
        whole = yield from self._size_of(path)
        size = None if whole is None else max(whole - offset, 0)
        yield from self._transfer_as("I")
        yield from self._start(f"RETR {path}", offset, size)

        def pieces() -> Steps[None]:
            while data := (yield from self._next()):
                yield Items((data,))

        return Flow(pieces(), size, path.rpartition("/")[2], leave=self._abandon)

    @procedure
    def put(self, name: str | None, data: Data, offset: int = 0, append: bool = False) -> Steps[None]:
        """Sends a file; one that has this name is replaced. name: None for that of the URL.

        offset: bytes of the data that the server has already (`size`): they are left out, and it goes on behind them. append:
        all of the data, behind what is there. Returns when the server has said that it is there. Raises Refused (no room, no
        right), ConnectionLost; OSError for a file that cannot be read.
        """
        path = self._file(name)
        _check_offset(offset)
        if append and offset:
            raise UsageError("either append, or go on at an offset")
        source = Source.of(data, offset)
        yield from self._transfer_as("I")
        yield from self._store(f"{'APPE' if append else 'STOR'} {path}", source, offset)

    def _store(self, command: str, pieces: Source, offset: int = 0) -> Steps[None]:
        yield from self._start(command, offset)
        for piece in pieces:
            if not (yield from self._send(piece)):
                break
        yield from self._sent()

    @procedure
    def size(self, name: str | None = None) -> Steps[int]:
        """Bytes of a file (RFC 3659 §4). Raises NotFound, Refused."""
        yield from self._transfer_as("I")  # as text, it might have another
        reply = yield from self._command(f"SIZE {self._file(name)}")
        size = read_size(reply.text.strip())
        if size is None:
            raise ProtocolError("the server's answer has no size", operation="SIZE", peer=self.target)
        return size

    def _size_of(self, path: str) -> Steps[int | None]:
        """None where the server does not say; a file that is missing shows when it is asked for."""
        if self.features and "SIZE" not in self.features:
            return None
        try:
            return (yield from self.size.steps(path))
        except Refused:
            return None

    @procedure
    def modified(self, name: str | None = None) -> Steps[datetime]:
        """When a file was last changed, in UTC (MDTM, RFC 3659 §3). Raises NotFound, Refused."""
        reply = yield from self._command(f"MDTM {self._file(name)}")
        modified = read_time(reply.text.strip())
        if modified is None:
            raise ProtocolError("the server's answer has no time", operation="MDTM", peer=self.target)
        return modified

    @procedure
    def set_modified(self, name: str, moment: datetime) -> Steps[None]:
        """Sets that time, to the second (MFMT, which is a draft and which some servers know). A time without a zone is local.

        Raises NotFound, Refused.
        """
        yield from self._command(f"MFMT {write_time(moment)} {self._file(name)}")

    @procedure
    def remove(self, name: str) -> Steps[None]:
        """Deletes a file. Raises NotFound, Refused."""
        yield from self._command(f"DELE {self._file(name)}")

    @procedure
    def rename(self, name: str, new: str) -> Steps[None]:
        """Gives a file or a folder another path; most servers replace a file that is there. Raises NotFound, Refused."""
        name, new = self._file(name), self._file(new)
        yield from self._command(f"RNFR {name}")
        yield from self._command(f"RNTO {new}")

    # -- folders -------------------------------------------------------------------------------------------------------

    @procedure
    def make_folder(self, name: str, parents: bool = False) -> Steps[None]:
        """Makes a folder. parents: and those above it, and it is no error when it is there already. Raises Refused."""
        path = self._file(name)
        names = path.split("/")
        refused: Refused | None = None
        for count in range(1, len(names) + 1) if parents else (len(names),):
            if names[count - 1]:
                refused = yield from self._make("/".join(names[:count]))
        if refused is not None and not (parents and (yield from self._is_folder(path))):
            raise refused

    def _make(self, path: str) -> Steps[Refused | None]:
        try:
            yield from self._command(f"MKD {path}")
        except Refused as error:
            return error
        return None

    def _is_folder(self, path: str) -> Steps[bool]:
        try:
            return (yield from self.stat.steps(path)).kind == "folder"
        except Refused:
            return False

    @procedure
    def remove_folder(self, name: str) -> Steps[None]:
        """Deletes a folder that is empty. Raises NotFound, Refused."""
        yield from self._command(f"RMD {self._file(name)}")

    @procedure
    def cwd(self, name: str) -> Steps[None]:
        """Goes to a folder: paths lead on from there; that of the URL stays where it is. Raises NotFound, Refused."""
        path = self._file(name)
        if self._home is None:
            self._home = yield from self.pwd.steps()
        yield from self._command("CDUP" if path == ".." else f"CWD {path}")

    @procedure
    def pwd(self) -> Steps[str]:
        """The folder where we are."""
        return self._quoted((yield from self._command("PWD")), "PWD")

    # -- the rest ------------------------------------------------------------------------------------------------------

    @procedure
    def noop(self) -> Steps[None]:
        """Shows the server that we are still here."""
        yield from self._command("NOOP")

    @procedure
    def site(self, command: str) -> Steps[str]:
        """A command of this server's own, such as "CHMOD 644 name"; returns its words. Raises Refused."""
        return (yield from self._command(f"SITE {command}")).text

    def _file(self, name: str | None) -> str:
        """The path of what must have a name."""
        path = self._path(name)
        if not path:
            raise UsageError("which file? example: {example}", example=f"{self.target}name")
        return path


def _with(command: str, path: str) -> str:
    return f"{command} {path}" if path else command


def _check_offset(offset: int) -> None:
    if offset < 0:
        raise UsageError("an offset is counted from the beginning of the file: it is not negative")
