"""A folder with everything that `prise web` does: one handler, put together of the others.

    Access  ->  assets | thumbnails | resumed uploads | Site  ->  Listing, Uploads

Files that others may have put there must not act in the reader's name: a page that somebody uploads would otherwise delete
files with the teacher's password. So where uploads are allowed, files are sent with `Content-Security-Policy: sandbox`: their
scripts run, but belong to no origin, and `Access` refuses what such pages ask to change.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from prise.locale import LANGUAGES, translator
from prise.web import assets, passwords, thumbnails
from prise.web.access import Access, Permission
from prise.web.folder import Folder
from prise.web.listing import Listing
from prise.web.negotiation import language, parameters
from prise.web.request import Body, HttpError, Request
from prise.web.response import Ready, Response, plain
from prise.web.routes import Routes
from prise.web.site import Site
from prise.web.thumbnails import Thumbnails
from prise.web.uploads import Uploads

SANDBOX: Final = "sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts"


class Application:
    """Serves the folder `root`.

    allow: "read", "upload" or "write"; auth: USER:PASSWORD or a file of accounts, None for none; auth_for_writing: only what
    changes something needs an account (access.py, passwords.py). listing: directories without an index are shown; archives:
    and can be downloaded. largest, quota, keep_free, durable: of uploads, see `Uploads`. site: the rest is for `Site`.
    Raises UsageError, MissingExtra.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        allow: str = "read",
        auth: str | None = None,
        auth_for_writing: bool = False,
        listing: bool = True,
        archives: bool = True,
        largest: int | None = None,
        quota: int | None = None,
        keep_free: int = 64 * 2**20,
        durable: bool = False,
        index: Sequence[str] = ("index.html",),
        not_found: str = "404.html",
        dot_files: bool = False,
        **site: Any,
    ) -> None:
        accounts = passwords.accounts(auth) if auth is not None else None
        self.access = Access(self._answer, allow=allow, accounts=accounts, only_writing=auth_for_writing)
        self.writable = self.access.allow > Permission.READ
        if self.access.allow == Permission.UPLOAD:
            # Who may only add must not change what is there: a new page.html.br would stand for page.html.
            site |= {"precompressed": False, "pretty": False}
        self._thumbnails = Thumbnails()
        self.uploads: Uploads | None = None
        if self.writable:
            self.uploads = Uploads(
                Folder(root, dot_files=dot_files),
                self._permission,
                largest=largest,
                quota=quota,
                keep_free=keep_free,
                reserved=(*index, not_found),
                durable=durable,
            )
        login = auth_for_writing and self.writable and auth is not None
        self.site = Site(
            root,
            index=index,
            not_found=not_found,
            dot_files=dot_files,
            listing=Listing(self._permission, login=login, archives=archives) if listing else None,
            writer=self.uploads,
            **site,
        )
        self._routes = Routes({assets.PREFIX: assets.handler, "/": self.access})

    async def __call__(self, request: Request, body: Body) -> Response:
        return await self._routes(request, body)

    def quick(self, request: Request) -> Ready | None:
        """See `Site.quick`. Only where everybody may read, and no file needs the sandbox."""
        return self.site.quick(request) if self.access.open and not self.writable else None

    def user(self, request: Request) -> str | None:
        """Who asks, for the access log."""
        return self.access.grant(request).user

    def _permission(self, request: Request) -> Permission:
        return self.access.grant(request).permission

    async def _answer(self, request: Request, body: Body) -> Response:
        """For who may."""
        query = parameters(request.query) if request.query else {}
        uploads = self.uploads
        if uploads is not None and (
            request.method in uploads.methods or (request.method == "HEAD" and "upload" in query)
        ):
            try:
                return await (uploads if request.method == "HEAD" else self.site)(request, body)
            except HttpError as error:
                if error is getattr(body, "error", None):  # a broken body is the conversation's business
                    raise
                speaks = translator(language(request.headers.get("accept-language", ""), LANGUAGES))
                return plain(error.status, error.sentence(speaks))
        if "thumb" in query and request.method in ("GET", "HEAD") and thumbnails.available():
            return await self._thumbnail(request)
        response = await self.site(request, body)
        if self.writable and not any(name.lower() == "content-security-policy" for name, _ in response.headers):
            response.headers = [*response.headers, ("Content-Security-Policy", SANDBOX)]
        return response

    async def _thumbnail(self, request: Request) -> Response:
        try:
            with self.site.folder.open(request.path) as opened:
                return await self._thumbnails.answer(request, opened)
        except (OSError, ValueError):
            return plain(404)
