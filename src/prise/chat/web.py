"""The HTTP door: the page (`page/`), and the files that people send each other.

/                   the page                      PUT /files/NAME      stores a file and says so in a room
/page/...           what it is made of            GET /files/ID/NAME   downloads it
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs

import prise
from prise.chat.events import Message, Notice
from prise.chat.house import House
from prise.chat.person import Person
from prise.chat.room import Room
from prise.web.conversation import LIMITS, Handler, http_branch
from prise.web.request import Body, Request
from prise.web.response import Response, plain
from prise.web.routes import Routes
from prise.web.site import Site

PAGE = Path(__file__).parent / "page"

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Content-Security-Policy (W3C CSP Level 3): nothing comes from elsewhere, no script but ours runs."""

HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
)


LONGEST_BODY = 2**62
"""Bytes; the real bound is `Uploads.most`, which is refused with an answer that the page understands."""


class Uploads(Protocol):
    """What the door needs of `chat.files`."""

    most: int

    def allowed(self, person: Person) -> bool: ...

    async def take(self, name: str, type: str, body: Body) -> dict[str, Any]:
        """Stores a body; returns `Message.details`. Raises HttpError."""

    async def download(self, request: Request, body: Body) -> Response: ...

    def forget(self, details: dict[str, Any]) -> None:
        """Removes what was stored: nobody has heard of it."""


def page(house: House, uploads: Uploads | None = None) -> tuple[Any, ...]:
    """The branch of a `Multiplex` for HTTP."""
    site = Site(PAGE, headers=HEADERS)
    table: dict[str, Handler] = {"/": site, "/page/": site}
    if uploads is not None:
        table["/files/"] = Files(house, uploads)
    routes = Routes(table)
    branch = http_branch(routes, quick=routes.quick, longest_body=LONGEST_BODY if uploads is not None else 0)
    return (*branch, (), LIMITS)


class Files:
    """Takes and gives files."""

    def __init__(self, house: House, uploads: Uploads) -> None:
        self._house = house
        self._uploads = uploads

    async def __call__(self, request: Request, body: Body) -> Response:
        if request.method in ("GET", "HEAD"):
            return await self._uploads.download(request, body)
        if request.method != "PUT":
            return plain(405, headers=(("Allow", "GET, HEAD, PUT"),))
        return await self._put(request, body)

    async def _put(self, request: Request, body: Body) -> Response:
        house = self._house
        scheme, _space, token = request.headers.get("authorization", "").partition(" ")
        person = house.person_of(token) if scheme.lower() == "bearer" else None
        if person is None:
            return _no(401, Notice("only who is in the house may send files"), ("WWW-Authenticate", "Bearer"))
        session = next(iter(person.sessions), None)
        translate = session.translate if session is not None else str
        if session is None or not self._uploads.allowed(person):
            return _no(403, Notice("only operators may send files here"), translate=translate)
        try:
            room = self._room(person, request)
            room.rules_for(person, ask=True)
            name = request.path.removeprefix("/")
            details = await self._uploads.take(name, request.headers.get("content-type", ""), body)
            try:
                settled = await house.say(session, details["name"], room=room, kind="file", details=details)
                message: Message = await settled
            except BaseException:
                self._uploads.forget(details)
                raise
        except prise.PeerError as error:
            status = getattr(error, "status", None)
            if status is None:
                raise
            return _no(status, error.sentence(translate))
        except prise.PriseError as error:
            return _no(403, error.sentence(translate))
        return _json(201, {"url": details["url"], "number": message.number})

    def _room(self, person: Person, request: Request) -> Room:
        wanted = parse_qs(request.query).get("room", [""])[0]
        room = self._house.find_room(wanted or next(iter(person.rooms.values()), ""))
        self._house.refuse_unless_in(person, room)
        return room


def _no(status: int, why: Notice | str, *headers: tuple[str, str], translate: Callable[[str], str] = str) -> Response:
    return _json(status, {"why": why if isinstance(why, str) else why.text(translate)}, headers)


def _json(status: int, given: dict[str, Any], headers: Sequence[tuple[str, str]] = ()) -> Response:
    body = json.dumps(given, ensure_ascii=False).encode()
    return Response(status, (("Content-Type", "application/json"), *headers), body)
