"""Several handlers as one: which of them answers is decided by the path.

    Routes({"/": Site(assets), "/files/": Site(folder), "/upload": upload})

A key that ends with a slash is a prefix: the longest one that fits answers, and sees the path without it, so a `Site` needs
not know where it stands. A key without is that path alone. `Routes` is a handler itself, and may be in another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import quote

from prise.errors import UsageError
from prise.web.request import Body, Request
from prise.web.response import Ready, Response, plain

Handler: TypeAlias = Callable[[Request, Body], Awaitable[Response]]


class Routes:
    """table: path or prefix -> handler. A path that is nobody's is 404; one that lacks only a prefix's slash is sent there.

    Raises UsageError for a key that does not begin with a slash.
    """

    def __init__(self, table: Mapping[str, Handler]) -> None:
        for key in table:
            if not key.startswith("/") or "//" in key:
                raise UsageError('a route begins with "/" and holds no "//"; this one is {key!r}', key=key)
        self._exact = {key: handler for key, handler in table.items() if not key.endswith("/")}
        self._prefixes = sorted(((k, h) for k, h in table.items() if k.endswith("/")), key=lambda each: -len(each[0]))
        for prefix, _ in self._prefixes:
            self._exact.setdefault(prefix[:-1], _to_slash)
        # Requests are made once for equal heads, so what a handler below sees of one need be made once as well.
        self._below = lru_cache(256)(_below)

    def find(self, request: Request) -> tuple[Handler, Request] | None:
        """Who answers, and the request as it will see it. None for nobody."""
        path = request.path
        handler = self._exact.get(path)
        if handler is not None:
            return handler, request
        for prefix, handler in self._prefixes:
            if path.startswith(prefix):
                return handler, request if prefix == "/" else self._below(request, prefix)
        return None

    async def __call__(self, request: Request, body: Body) -> Response:
        found = self.find(request)
        if found is None:
            return plain(404)
        handler, seen = found
        return await handler(seen, body)

    def quick(self, request: Request) -> Ready | None:
        """The ready answer of the handler below, where it has such a thing."""
        found = self.find(request)
        if found is None:
            return None
        handler, seen = found
        quick: Any = getattr(handler, "quick", None)
        answer: Ready | None = quick(seen) if quick is not None else None
        return answer


async def _to_slash(request: Request, body: Body) -> Response:
    """ "/files" where only "/files/" is."""
    if request.method not in ("GET", "HEAD"):
        return plain(404)
    name = quote(request.path.rpartition("/")[2], safe="")
    query = f"?{request.query}" if request.query else ""
    return Response(301, [("Location", f"{name}/{query}"), ("Cache-Control", "no-cache")])


def _below(request: Request, prefix: str) -> Request:
    return replace(request, path=request.path[len(prefix) - 1 :])
