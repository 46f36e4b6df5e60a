"""Who may do what: one word, `allow`, and accounts if wanted. `Access` stands before a handler and asks.

    allow="read"      reading alone (the default)
    allow="upload"    and new files; nothing that is there is changed
    allow="write"     and replacing, deleting, new folders

With accounts (passwords.py) everybody logs in, by HTTP Basic (RFC 7617); with `only_writing` reading stays open to all:
pupils download, the teacher uploads. Basic sends the password with each request, so it belongs inside TLS.

A password is hashed once, in a thread, two at a time; who is known then is remembered (bounded), under a keyed digest.

What changes something must come from a page of our own: browsers send Origin and Sec-Fetch-Site, and a request that names
another origin is refused (403), whatever permission it has. Programs send neither.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import enum
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from prise import UsageError
from prise.web import passwords
from prise.web.negotiation import parameters
from prise.web.request import Body, Request
from prise.web.response import Response, plain

Handler = Callable[[Request, Body], Awaitable[Response]]

READS: Final = frozenset(("GET", "HEAD", "OPTIONS"))
MOST_REMEMBERED: Final = 1024
AT_ONCE: Final = 2  # passwords that are hashed at the same time, in all; each takes 16 MiB and a core
MOST_WAITING: Final = 100  # more get 503


class Permission(enum.IntEnum):
    """What somebody may do; each includes the ones before."""

    NONE = 0
    READ = 1
    UPLOAD = 2
    WRITE = 3

    @classmethod
    def of(cls, word: str) -> Permission:
        """Of "read", "upload" or "write". Raises UsageError."""
        if word not in ("read", "upload", "write"):
            raise UsageError("what is allowed is read, upload or write, not {word}", word=word)
        return cls[word.upper()]


class Grant(NamedTuple):
    """user: who has logged in, None for nobody."""

    permission: Permission
    user: str | None = None


class Access:
    """A handler that asks who it is and what they may, and then the handler behind it.

    allow: "read", "upload" or "write". accounts: user -> hash, see `passwords.accounts`; None: nobody logs in.
    only_writing: accounts are for what changes something, and everybody reads. realm: shown by browsers that ask for a
    password. For one event loop.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        allow: str = "read",
        accounts: Mapping[str, str] | None = None,
        only_writing: bool = False,
        realm: str = "prise",
    ) -> None:
        self.handler = handler
        self.allow = Permission.of(allow)
        self.accounts = accounts
        self.only_writing = only_writing
        self._challenge = f'Basic realm="{realm}", charset="UTF-8"'
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._key = os.urandom(32)
        # Whoever names no account waits as long as everybody else, so that nobody finds out who has one.
        self._nobody = next(iter(accounts.values()), "") if accounts else ""
        self._hashing = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    @property
    def open(self) -> bool:
        """Whether everybody may read."""
        return self.accounts is None or self.only_writing

    def grant(self, request: Request) -> Grant:
        """What this request may do, by what is known already: never waits. Its password was checked when it came in."""
        if self.accounts is None:
            return Grant(self.allow)
        user = self._remembered(request)
        if user is not None:
            return Grant(self.allow, user)
        return Grant(Permission.READ if self.only_writing else Permission.NONE)

    async def __call__(self, request: Request, body: Body) -> Response:
        refused = await self.admit(request)
        return refused if refused is not None else await self.handler(request, body)

    async def admit(self, request: Request) -> Response | None:
        """The answer to a request that is refused, None for one that may go on. `?login` asks for an account and leads back."""
        login = request.query == "login" and request.method in ("GET", "HEAD") and self.accounts is not None
        writing = request.method not in READS
        if writing:
            if is_from_elsewhere(request):
                return plain(403, "a page of another origin may not change anything here")
            if self.allow == Permission.READ:
                return plain(405, _READ_ONLY, [("Allow", "GET, HEAD, OPTIONS")])
        if self.accounts is None or request.method == "OPTIONS":  # a browser's preflight never carries a password
            return None
        # An account that is given is always checked, so that `grant` knows it, also where reading needs none.
        field = request.headers.get("authorization")
        if field is not None and self._remembered(request) is None:
            if self._waiting >= MOST_WAITING:
                return plain(503, "too many people are logging in", [("Retry-After", "5")])
            user = await self._checked(field)
            if user is None:
                return self._challenged("wrong user or password")
            self._remember(field, user)
        elif field is None and (writing or login or not self.only_writing or _asks_about_upload(request)):
            return self._challenged("uploading needs an account here" if writing else "")
        if login:
            return Response(303, [("Location", "./"), ("Cache-Control", "no-store")])
        return None

    def _challenged(self, text: str) -> Response:
        return plain(401, text, [("WWW-Authenticate", self._challenge), ("Cache-Control", "no-store")])

    async def _checked(self, field: str) -> str | None:
        """The user whose password this is."""
        given = _basic(field)
        if given is None or self.accounts is None:
            return None
        user, password = given
        hashed = self.accounts.get(user, self._nobody)
        self._waiting += 1
        try:
            async with self._hashing:
                right = await asyncio.to_thread(passwords.matches, password, hashed)
        finally:
            self._waiting -= 1
        return user if right and user in self.accounts else None

    def _digest(self, field: str) -> bytes:
        return hmac.digest(self._key, field.encode("latin-1", "replace"), hashlib.sha256)

    def _remembered(self, request: Request) -> str | None:
        field = request.headers.get("authorization")
        if field is None or not self._known:
            return None
        digest = self._digest(field)
        user = self._known.get(digest)
        if user is not None:
            self._known.move_to_end(digest)
        return user

    def _remember(self, field: str, user: str) -> None:
        self._known[self._digest(field)] = user
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)


_READ_ONLY: Final = (
    "this server only lets people read; whoever runs it can allow more: "
    "--allow upload (new files) or --allow write (everything)"
)


def is_from_elsewhere(request: Request) -> bool:
    """Whether a browser sent it for a page of another origin (Fetch Standard, "Sec-Fetch-Site" and "Origin")."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != request.host.lower()  # "null" has none
    except ValueError:
        return True


def _asks_about_upload(request: Request) -> bool:
    return request.method == "HEAD" and "upload" in request.query and "upload" in parameters(request.query)


def _basic(field: str) -> tuple[str, str] | None:
    """User and password of an Authorization field."""
    scheme, _, given = field.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(given.strip(), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None
