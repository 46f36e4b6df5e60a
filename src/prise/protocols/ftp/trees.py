"""Whole folders, both ways: one file after the other, with what has become of each as an item.

    for step in ftp.get_tree("pub/photos", "photos"):
        print(step.name, step.done, step.size)

What the server refuses is told and left out, the rest goes on, and the end is an error that says how much was refused: so nothing
is lost in silence. The disk is disk.py's business.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from prise.errors import ProtocolError, Refused
from prise.protocols.entry import Entry
from prise.protocols.ftp.control import join
from prise.protocols.ftp.disk import LocalFolder, Parts, check_name
from prise.protocols.ftp.files import FilesTalk
from prise.protocols.session import streaming
from prise.protocols.source import Source
from prise.protocols.steps import Flow, Items, Steps

DEEPEST = 64
"""Folders in one another: more is a circle."""

MOST = 1_000_000
"""Files and folders of one tree."""

STRIDE = 1024 * 1024
"""Bytes of a file between two tellings."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one thing in a tree is.

    name: its path under the folder, with "/". kind: as in `Entry`. done: bytes transferred. size: of all, None where unknown.
    complete: it is there now, whole. refused: the server's no. Links and what is neither file nor folder are left out: they
    have neither.
    """

    name: str
    kind: str
    done: int = 0
    size: int | None = None
    complete: bool = False
    refused: Refused | None = None


class TreesTalk(FilesTalk):
    @streaming
    def get_tree(self, name: str | None = None, local: str | os.PathLike[str] = ".") -> Steps[Flow[Progress]]:
        """Fetches all that is in a folder of the server into a local one, which is made. name: None for that of the URL.

        A file appears under its name when it is whole. Links are left out. It works while it is iterated over. Raises NotFound,
        Refused (at the end, for what was refused); ProtocolError for names that lead out of the folder, for more than
        1,000,000 entries or 64 levels; OSError of the disk.
        """
        path, folder = self._path(name), LocalFolder(local)
        yield from self._transfer_as("I")
        first = yield from self._folder(path)
        return Flow(self._get_all(path, folder, first), leave=self._abandon)

    @streaming
    def put_tree(self, local: str | os.PathLike[str], name: str | None = None) -> Steps[Flow[Progress]]:
        """Sends all that is in a local folder into one of the server, which is made. name: None for that of the URL.

        Links are left out. It works while it is iterated over. Raises Refused (at the end, for what was refused), OSError of
        the disk.
        """
        path, folder = self._path(name), LocalFolder(local)
        first = folder.entries()
        if path:
            yield from self.make_folder.steps(path, parents=True)
        return Flow(self._put_all(path, folder, first), leave=self._abandon)

    def _walk(
        self,
        first: list[Entry],
        enter: Callable[[Parts], Steps[list[Entry]]],
        carry: Callable[[Parts, int | None], Steps[None]],
    ) -> Steps[None]:
        """All folders and files, and what becomes of them. first: what is in the first folder. enter: makes a folder, and gives
        what is in it. carry: transfers a file of that size, and tells how far it is."""
        refused: list[Progress] = []  # bound: MOST
        waiting: list[tuple[Parts, list[Entry] | None]] = [((), first)]
        count = 0
        while waiting:
            parts, entries = waiting.pop()
            if entries is None:
                try:
                    entries = yield from enter(parts)
                except Refused as error:
                    refused.append(Progress(_shown(parts), "folder", refused=error))
                    yield Items(refused[-1:])
                    continue
                yield Items((Progress(_shown(parts), "folder", complete=True),))
            count += len(entries)
            if len(parts) > DEEPEST or count > MOST:
                raise ProtocolError(
                    "the folder has more than {most} entries or {deepest} levels",
                    peer=self.target,
                    most=MOST,
                    deepest=DEEPEST,
                )
            for entry in entries:
                inner = (*parts, entry.name)
                if entry.kind == "folder":
                    waiting.append((inner, None))
                elif entry.kind == "file":
                    try:
                        yield from carry(inner, entry.size)
                    except Refused as error:
                        refused.append(Progress(_shown(inner), "file", size=entry.size, refused=error))
                        yield Items(refused[-1:])
                else:
                    yield Items((Progress(_shown(inner), entry.kind),))
        if refused and (no := refused[0].refused) is not None:
            raise Refused(
                "{count} were refused; the first, {name}: {code} {words}",
                operation=no.operation,
                peer=self.target,
                code=no.code,
                words=no.words,
                count=len(refused),
                name=repr(refused[0].name),
            )

    def _get_all(self, path: str, folder: LocalFolder, first: list[Entry]) -> Steps[None]:
        seen: set[str] = set()  # folders, as the server tells one from another: some show links as what they lead to

        def checked(entries: list[Entry]) -> list[Entry]:
            for index, entry in enumerate(entries):
                if entry.kind in ("file", "folder"):
                    check_name(entry.name)
                if entry.kind == "folder" and (unique := entry.facts.get("unique")) is not None:
                    if unique in seen:
                        entries[index] = replace(entry, kind="link")
                    seen.add(unique)
            return entries

        def enter(parts: Parts) -> Steps[list[Entry]]:
            entries = checked((yield from self._folder(_under(path, parts))))
            folder.make(parts)
            return entries

        folder.make()
        return (yield from self._walk(checked(first), enter, partial(self._get_one, path, folder)))

    def _get_one(self, path: str, folder: LocalFolder, parts: Parts, size: int | None) -> Steps[None]:
        shown, done, told = _shown(parts), 0, 0
        yield from self._transfer_as("I")
        yield from self._start(f"RETR {_under(path, parts)}", size=size)
        with folder.writing(parts) as file:
            yield Items((Progress(shown, "file", 0, size),))
            while data := (yield from self._next()):
                done += file.write(data)
                if done - told >= STRIDE:
                    told = done
                    yield Items((Progress(shown, "file", done, size),))
        yield Items((Progress(shown, "file", done, size, complete=True),))

    def _put_all(self, path: str, folder: LocalFolder, first: list[Entry]) -> Steps[None]:
        def enter(parts: Parts) -> Steps[list[Entry]]:
            there = self._path(_under(path, parts))
            refused = yield from self._make(there)
            if refused is not None and not (yield from self._is_folder(there)):
                raise refused
            return folder.entries(parts)

        return (yield from self._walk(first, enter, partial(self._put_one, path, folder)))

    def _put_one(self, path: str, folder: LocalFolder, parts: Parts, size: int | None) -> Steps[None]:
        shown, done, told = _shown(parts), 0, 0
        yield from self._transfer_as("I")
        yield from self._start(f"STOR {self._path(_under(path, parts))}")
        yield Items((Progress(shown, "file", 0, size),))
        for piece in Source.of(folder.path.joinpath(*parts)):
            if not (yield from self._send(piece)):
                break
            done += len(piece)
            if done - told >= STRIDE:
                told = done
                yield Items((Progress(shown, "file", done, size),))
        yield from self._sent()
        yield Items((Progress(shown, "file", done, size, complete=True),))


def _under(path: str, parts: Parts) -> str:
    name = "/".join(parts)
    return join(path, f"./{name}" if not path and name.startswith("~") else name)  # else it would be somebody's home


def _shown(parts: Parts) -> str:
    return "/".join(parts)
