"""Files that people send each other: taken in pieces, kept beside the store as FOLDER/ID/NAME, given back by a web `Site`.

A file has its name only when all of it is there. The sizes of all are counted once at the start, and then as they
come, so that the quota holds. Only pictures, sound, film, PDF and plain text are shown by browsers; everything else
is offered to be saved, and nothing of it runs: what people send is not ours.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from prise import UsageError
from prise.chat import cleaning
from prise.chat.person import Person
from prise.web.request import Body, HttpError, Request
from prise.web.response import Response, plain
from prise.web.site import Site
from prise.web.types import content_type

LONGEST_NAME = 100
"""Characters; the longest that file systems take is 255 bytes."""

_SHOWN = (
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
    "audio/",
    "video/",
    "application/pdf",
    "text/plain",
)
_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; sandbox; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


class Files:
    """folder: where they are kept. who: "all", "operator" or "none" may send. most: bytes of one, quota: of all.
    types: patterns of names (".pdf") and media types ("image/*") that are taken; none: any.
    """

    def __init__(self, folder: Path, *, who: str, most: int, quota: int, types: str = "") -> None:
        self.folder = folder
        self.most = most
        self._who = who
        self._quota = quota
        self._types = [each.strip().lower() for each in types.split(",") if each.strip()]
        self._used = 0

    def open(self) -> None:
        """Finds what is there already. Raises UsageError where there cannot be such a folder."""
        folder = self.folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for each in folder.glob("*/.part"):  # of a server that was killed
                shutil.rmtree(each.parent, ignore_errors=True)
            self._used = sum(each.stat().st_size for each in folder.glob("*/*"))
        except OSError as error:
            raise UsageError(
                "files cannot be kept in {folder}: {cause}; choose another store, or --uploads none",
                folder=folder,
                cause=error.strerror or error,
            ) from error
        self._site = Site(folder, headers=_HEADERS, compress=False, max_age=86400)

    def allowed(self, person: Person) -> bool:
        return self._who == "all" or (self._who == "operator" and person.operator)

    def told(self, person: Person) -> dict[str, Any]:
        """What `welcome` says."""
        return {"allowed": self.allowed(person), "most": self.most}

    async def take(self, name: str, type: str, body: Body) -> dict[str, Any]:
        """Stores a body; returns `Message.details`. Raises HttpError."""
        name = _name(name)
        # By the name, not by what the client says: downloads go by the name as well.
        kind = content_type(name).partition(";")[0]
        if self._types and not any(_fits(name, kind, each) for each in self._types):
            raise HttpError(
                "files like {name} are not taken here; taken: {types}",
                status=415,
                name=name,
                types=", ".join(self._types),
            )
        if body.length is not None and body.length > self.most:
            raise self._too_large()
        folder = self.folder / secrets.token_hex(8)
        size = 0
        try:
            await asyncio.to_thread(folder.mkdir, 0o700)
            part = await asyncio.to_thread((folder / ".part").open, "xb")
            with part:
                async for piece in body:
                    size += len(piece)
                    self._used += len(piece)
                    if size > self.most:
                        raise self._too_large()
                    if self._used > self._quota:
                        raise HttpError("there is no room left for files here; ask the operator", status=507)
                    await asyncio.to_thread(part.write, piece)
            await asyncio.to_thread(os.replace, folder / ".part", folder / name)
        except BaseException as error:
            self._used -= size
            await asyncio.to_thread(shutil.rmtree, folder, True)
            if isinstance(error, OSError):
                raise HttpError(
                    "the file cannot be stored: {cause}", cause=error.strerror or error, status=507
                ) from error
            raise
        return {"name": name, "size": size, "type": kind, "url": f"/files/{folder.name}/{_quoted(name)}"}

    def forget(self, details: dict[str, Any]) -> None:
        """Removes what was stored: nobody has heard of it."""
        self._used -= details["size"]
        shutil.rmtree(self.folder / details["url"].split("/")[2], ignore_errors=True)

    async def download(self, request: Request, body: Body) -> Response:
        if request.path.count("/") != 2:  # /ID/NAME, and no listing of anything
            return plain(404)
        response = await self._site(request, body)
        if response.status in (200, 206) and not content_type(request.path).startswith(_SHOWN):
            response.headers = (*response.headers, ("Content-Disposition", "attachment"))
        return response

    def _too_large(self) -> HttpError:
        return HttpError("that file is larger than {most} bytes", most=self.most, status=413)


def _name(typed: str) -> str:
    """The last part of a path, without what could harm; its end is kept, which says what it is."""
    name = cleaning.visible(typed.replace("\\", "/").rpartition("/")[2].encode("utf-8", "replace").decode())
    name = name.strip(". ")
    stem, point, kind = name.rpartition(".") if "." in name else (name, "", "")
    short = f"{stem[: LONGEST_NAME - 21]}{point}{kind[:20]}"
    while len(short.encode()) > 240:
        short = short[1:]
    return short or "file"


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")


def _fits(name: str, kind: str, pattern: str) -> bool:
    return name.lower().endswith(pattern) if pattern.startswith(".") else fnmatch.fnmatch(kind, pattern)
