"""What changes a folder: files that arrive, new folders, deleting. `Uploads` is a `Writer` of site.py.

    PUT /folder/name                     stores the body under that name; 201 new, 204 replaced
    POST /folder/                        a browser's form (multipart/form-data): each of its files
    POST /folder/?name=NAME              any other body, under that name
    DELETE /folder/name                  a file, or a folder that is empty
    MKCOL /folder/name                   makes a folder; also POST /folder/?mkdir=NAME, or a form with the field `name`

An upload that can be resumed has an identity that the client chooses: 1 to 64 letters, digits, "-" and "_" that nobody else
uses. The fields are those of the IETF's draft "Resumable Uploads for HTTP" (draft-ietf-httpbis-resumable-upload), on one URL:

    PUT   /folder/name?upload=ID         begins, anew if it was begun before; when the connection breaks, what came is kept
    HEAD  /folder/name?upload=ID         204 and Upload-Offset: how many bytes are here; 0 for nothing
    PATCH /folder/name?upload=ID         goes on; Upload-Offset: where the body begins, which must be what HEAD said (else 409)
    DELETE /folder/name?upload=ID        gives it up

    Upload-Complete: ?0                  of PUT and PATCH: there is more to come, in another PATCH
    Upload-Length: N                     of PUT and PATCH: bytes of the whole file; it gets its name only with exactly so many

423 says that the same upload is being sent at this moment, 507 that there is no room: what had come of it is removed.
Nobody ever sees a part of a file under its name (unfinished.py). Who may do what: access.py.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import stat
from collections.abc import Callable, Collection
from contextlib import aclosing
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from prise.web import forms
from prise.web.access import Permission
from prise.web.arriving import Arriving, Room, check_name, number_in
from prise.web.conditional import entity_tag, evaluate
from prise.web.folder import Folder, Opened
from prise.web.negotiation import media_type, parameters
from prise.web.quota import Quota
from prise.web.request import Body, HttpError, Request
from prise.web.response import Response, plain
from prise.web.unfinished import Busy, Unfinished

_IDENTITY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)
_NOT_ALLOWED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)

_MAY_NOT_UPLOAD: Final = "you may not upload here: log in, or ask whoever runs the server (--allow upload)"
_MAY_NOT_WRITE: Final = "you may only add files here, not change what is there (that needs --allow write)"


class Uploads:
    """Stores, deletes and makes folders below `folder`.

    permission: what a request may do. largest: bytes of one file, None for no bound but the disk's. quota: bytes of all files
    below the folder, None for no bound. keep_free: bytes of the file system that uploads leave free. reserved: names that nobody
    may add who may not replace either, since their files change what others see ("index.html"). durable: an answer
    means that the file is on the disk (fsync), not only on its way to it.
    """

    methods = frozenset(("DELETE", "MKCOL", "PATCH", "POST", "PUT"))

    def __init__(
        self,
        folder: Folder,
        permission: Callable[[Request], Permission],
        *,
        largest: int | None = None,
        quota: int | None = None,
        keep_free: int = 64 * 2**20,
        reserved: Collection[str] = ("index.html", "404.html"),
        durable: bool = False,
    ) -> None:
        self.folder = folder
        self._permission = permission
        self._room = Room(largest, Quota(folder.root, quota, keep_free))
        self._reserved = frozenset(reserved)
        self._durable = durable

    async def __call__(self, request: Request, body: Body) -> Response:
        """The answer to one of `methods`, or to HEAD with `?upload=ID`. Raises HttpError, and what iterating the body raises."""
        if self._permission(request) < Permission.UPLOAD:
            raise HttpError(_MAY_NOT_UPLOAD, status=403)
        query = parameters(request.query)
        try:
            parts = self.folder.split(request.path)
        except ValueError:
            raise HttpError("this path is no path: it is not UTF-8") from None
        except FileNotFoundError:
            raise HttpError("names that begin with a dot are not taken here, nor backslashes") from None
        try:
            if request.method == "POST":
                return await self._post(request, body, parts, query)
            if parts and not parts[-1] and request.method in ("DELETE", "MKCOL"):
                parts = parts[:-1]
            if not parts or not parts[-1]:
                raise HttpError(
                    "this names a folder; name a file in it", status=405 if request.method == "PUT" else 403
                )
            name = parts[-1]
            with self._directory(parts[:-1]) as directory:
                if request.method == "DELETE" and "upload" not in query:
                    return await self._delete(request, directory, name, slash=request.path.endswith("/"))
                self._check_name(request, name)
                if request.method == "MKCOL":
                    if request.length != 0:
                        raise HttpError("a new folder has no content", status=415)
                    return await self._make_folder(request, directory, name)
                return await self._file(request, body, directory, name, query)
        except FileNotFoundError:
            raise HttpError("there is no such folder or file here", status=404) from None
        except FileExistsError:
            raise HttpError("there is something of this name already", status=409) from None
        except (IsADirectoryError, NotADirectoryError):
            raise HttpError("a folder is in the way, or is missing", status=409) from None
        except Busy:
            raise HttpError("the same upload is arriving at this moment, over another connection", status=423) from None
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise HttpError("the server's disk is full; what had arrived was removed", status=507) from error
            if error.errno == errno.EFBIG:
                raise HttpError("the server's file system takes no file of this size", status=413) from error
            if error.errno in _NOT_ALLOWED:
                raise HttpError("the server itself may not write here", status=403) from error
            raise

    def _directory(self, parts: tuple[str, ...]) -> Opened:
        if not self.folder.dot_files and any(part.startswith(".") for part in parts):
            raise FileNotFoundError  # .well-known may be read, but who writes there may get certificates in our name
        opened = self.folder.open_parts(parts)
        if not opened.is_directory:
            opened.close()
            raise NotADirectoryError
        return opened

    def _check_name(self, request: Request, name: str) -> None:
        """Raises HttpError for a name that nothing here may have, or not by this request."""
        check_name(name, dot_files=self.folder.dot_files)
        if name in self._reserved and not self._may_write(request):
            raise HttpError("{name} would change what others see here; that needs --allow write", status=403, name=name)

    def _may_write(self, request: Request) -> bool:
        return self._permission(request) >= Permission.WRITE

    # Files ------------------------------------------------------------------------------------------------------------

    async def _file(
        self, request: Request, body: Body, directory: Opened, name: str, query: dict[str, str]
    ) -> Response:
        identity = query.get("upload")
        if identity is not None and not _IDENTITY.fullmatch(identity):
            raise HttpError("upload=ID has 1 to 64 letters, digits, hyphens and underscores")
        if identity is not None and request.method == "HEAD":
            size = await asyncio.to_thread(Unfinished.size_of, directory, name, identity)
            return Response(
                204, [("Upload-Offset", str(size)), ("Upload-Complete", "?0"), ("Cache-Control", "no-store")]
            )
        if identity is not None and request.method == "DELETE":
            part = await asyncio.to_thread(Unfinished.again, directory, name, identity)
            await asyncio.to_thread(part.discard)
            return Response(204)
        if request.method == "PATCH" and (identity is None or "upload-offset" not in request.headers):
            raise HttpError("PATCH goes on with an upload: ?upload=ID and the field Upload-Offset")
        if "content-range" in request.headers:
            raise HttpError("a part of a file is sent by PATCH with Upload-Offset, not with Content-Range")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise HttpError("files are stored as they are; send them without Content-Encoding", status=415)
        replace = self._may_replace(request, directory, name)
        if request.method == "PATCH" and identity is not None:
            part = await asyncio.to_thread(Unfinished.again, directory, name, identity)
            offset = number_in(request, "upload-offset")
            if offset != part.size:
                size = part.size
                part.keep()
                return plain(409, f"{size} bytes are here", [("Upload-Offset", str(size)), ("Upload-Complete", "?0")])
        else:
            await asyncio.to_thread(self._room.check, request.length or 0, directory)
            part = await asyncio.to_thread(Unfinished.begin, directory, name, identity)
        arriving = Arriving(self._room, directory, part)
        whole = await arriving.receive(request, body, resumable=identity is not None)
        if not whole:
            size = part.size
            part.keep()
            length = request.headers.get("upload-length")
            if length is not None and request.headers.get("upload-complete") != "?0":
                return plain(409, f"{size} bytes are here, not {length}", [("Upload-Offset", str(size))])
            return Response(204, [("Upload-Offset", str(size)), ("Upload-Complete", "?0")])
        return await self._finish(part, replace)

    def _may_replace(self, request: Request, directory: Opened, name: str) -> bool:
        """Whether what is there may be replaced; asked before the body comes, which may take hours. Raises HttpError."""
        try:
            with directory.child(name) as there:
                tag, changed = entity_tag(there.stat), there.stat.st_mtime
                if there.is_directory:
                    raise HttpError("a folder has this name", status=409)
        except FileNotFoundError:
            tag, changed = None, None
        if evaluate(request.headers, request.method, tag, changed) is not None:
            raise HttpError("what is there is not what the request expects", status=412)
        may = self._may_write(request)
        if tag is not None and not may:
            raise HttpError(
                "{name} is there already, and you may only add files here (replacing needs --allow write)",
                status=409,
                name=name,
            )
        return may and request.headers.get("if-none-match", "").strip() != "*"

    async def _finish(self, part: Unfinished, replace: bool) -> Response:
        try:
            new, status = await asyncio.to_thread(partial(part.finish, replace=replace, durable=self._durable))
        finally:
            part.discard()  # nothing, once it is finished
        fields = [("ETag", entity_tag(status)), ("Upload-Complete", "?1"), ("Upload-Offset", str(status.st_size))]
        if not new:
            return Response(204, fields)
        fields.append(("Location", f"./{quote(part.name, safe='')}"))
        return plain(201, f"stored: {status.st_size} bytes", fields)

    # Forms ------------------------------------------------------------------------------------------------------------

    async def _post(self, request: Request, body: Body, parts: tuple[str, ...], query: dict[str, str]) -> Response:
        if parts and parts[-1]:
            raise HttpError("POST goes to a folder (its path ends with a slash); PUT to a file", status=405)
        with self._directory(parts[:-1]) as directory:
            if "mkdir" in query:
                name = query["mkdir"] or await forms.name_in(request, body)
                self._check_name(request, name)
                return await self._make_folder(request, directory, name)
            if forms.is_form(request):
                return await self._form(request, body, directory)
            if "name" not in query:
                raise HttpError(
                    "say what the file is called: PUT /folder/NAME, POST /folder/?name=NAME, or a form", status=415
                )
            self._check_name(request, query["name"])
            return await self._file(request, body, directory, query["name"], {})

    async def _form(self, request: Request, body: Body, directory: Opened) -> Response:
        """The files of a form, each stored as soon as it is whole; an error leaves those that were stored before it."""
        stored: list[dict[str, Any]] = []
        arriving: Arriving | None = None
        replace = False
        try:
            async with aclosing(forms.files_of(request, body)) as events:
                async for event in events:
                    if isinstance(event, forms.Begin):
                        self._check_name(request, event.name)
                        replace = self._may_replace(request, directory, event.name)
                        part = await asyncio.to_thread(Unfinished.begin, directory, event.name, None)
                        arriving = Arriving(self._room, directory, part)
                    elif isinstance(event, bytes) and arriving is not None:
                        await arriving.take(event)
                    elif arriving is not None:
                        await arriving.flush()
                        await self._finish(arriving.part, replace)
                        name = arriving.part.name
                        stored.append({"name": name, "size": arriving.part.size, "url": f"./{quote(name, safe='')}"})
        finally:
            if arriving is not None:
                arriving.part.discard()  # nothing, once it is finished
        if not stored:
            raise HttpError("this form holds no file")
        return _back(request, stored)

    # Folders and deleting ---------------------------------------------------------------------------------------------

    async def _make_folder(self, request: Request, directory: Opened, name: str) -> Response:
        if not self._may_write(request):
            raise HttpError(_MAY_NOT_WRITE, status=403)
        os.mkdir(name, dir_fd=directory.descriptor)
        return _back(request, [{"name": name, "url": f"./{quote(name, safe='')}/"}])

    async def _delete(self, request: Request, directory: Opened, name: str, *, slash: bool) -> Response:
        if not self._may_write(request):
            raise HttpError(_MAY_NOT_WRITE, status=403)
        with directory.child(name) as there:
            if evaluate(request.headers, "DELETE", entity_tag(there.stat), there.stat.st_mtime) is not None:
                raise HttpError("what is there is not what the request expects", status=412)
            if slash and not there.is_directory:
                raise FileNotFoundError
        # Of a link only the link goes, whatever it leads to.
        itself = os.stat(name, dir_fd=directory.descriptor, follow_symlinks=False)
        remove = os.rmdir if stat.S_ISDIR(itself.st_mode) else os.unlink
        try:
            await asyncio.to_thread(remove, name, dir_fd=directory.descriptor)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise HttpError("the folder is not empty", status=409) from None
            raise
        return Response(204)


def _back(request: Request, made: list[dict[str, Any]]) -> Response:
    """A browser is led back to the folder, a program told what was made."""
    if media_type(request.headers.get("accept", ""), ("application/json", "text/html")) == "text/html":
        return Response(303, [("Location", "./"), ("Cache-Control", "no-store")])
    return Response(201, [("Content-Type", "application/json")], json.dumps(made).encode() + b"\n")
