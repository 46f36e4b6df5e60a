"""The cookies of one session (RFC 6265): kept in memory, by the standard library's rules, and gone with it."""

from __future__ import annotations

from http.cookiejar import CookieJar
from typing import Any

from prise.protocols.http.message import Headers, Request

MOST_COOKIES = 1000
"""Of all servers. With more, all are forgotten: no server needs so many, and a hostile one sends them without end."""


class Cookies:
    def __init__(self) -> None:
        self._jar = CookieJar()

    def keep(self, request: Request, headers: Headers) -> None:
        """Those that an answer sets."""
        seen: Any = _Seen(request, headers)
        self._jar.extract_cookies(seen, seen)
        if len(self._jar) > MOST_COOKIES:
            self._jar.clear()

    def header(self, request: Request) -> str | None:
        """What Cookie says in this request; None: nothing."""
        seen: Any = _Seen(request)
        self._jar.add_cookie_header(seen)
        cookie: str | None = seen.cookie
        return cookie

    def __iter__(self) -> Any:
        return iter(self._jar)


class _Seen:
    """A request and its answer as `CookieJar` wants to see them: the methods of urllib's, which are all it needs."""

    unverifiable = False

    def __init__(self, request: Request, headers: Headers | None = None) -> None:
        self.type = request.target.scheme
        self.host = self.origin_req_host = request.host
        self._url = f"{self.type}://{self.host}{request.path}"
        self._headers = headers
        self.cookie: str | None = None

    def get_full_url(self) -> str:
        return self._url

    def get_header(self, name: str, default: str | None = None) -> str | None:
        return default

    def has_header(self, name: str) -> bool:
        return False

    def add_unredirected_header(self, name: str, value: str) -> None:
        if name == "Cookie":
            self.cookie = value

    def info(self) -> _Seen:
        return self

    def get_all(self, name: str, default: Any = None) -> Any:
        return self._headers.all(name) if self._headers is not None else default
