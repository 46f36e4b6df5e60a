"""The cookies of one session (RFC 6265): kept in memory, by the standard library's rules, and gone with it."""

from __future__ import annotations

from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import Any

from prise.protocols.http.message import Headers, Request

MOST_COOKIES = 1000
"""Of all servers. With more, all are forgotten: no server needs so many, and a hostile one sends them without end."""


LONGEST_COOKIE = 4096
"""Characters with all its attributes; of a longer one nothing is kept (RFC 6265 §6.1 asks for no more)."""


class _Policy(DefaultCookiePolicy):
    """The standard library's, and stricter about whom a server may set a cookie for.

    Without a list of the domains that belong to many (.co.uk, github.io), it goes by what a name looks like: none for a name of
    one label, none for .co.uk and the like.
    """

    def __init__(self) -> None:
        super().__init__(strict_domain=True, strict_ns_domain=self.DomainStrictNonDomain)

    def set_ok_domain(self, cookie: Cookie, request: Any) -> bool:
        # Taken for names, 10.0.0.1 would be under the same domain as 127.0.0.1, and all hosts without a dot under ".local".
        host: str = request.host
        alone = ":" in host or "." not in host or host.rpartition(".")[2].isdecimal()
        if alone and cookie.domain_specified and cookie.domain.removeprefix(".") != host:
            return False
        return bool(super().set_ok_domain(cookie, request))


class Cookies:
    def __init__(self) -> None:
        self._jar = CookieJar(_Policy())

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
        self.host = request.target.host.lower()
        self.origin_req_host = request.host
        self._url = f"{self.type}://{request.host}{request.path}"
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
        if self._headers is None:
            return default
        return [value for value in self._headers.all(name) if len(value) <= LONGEST_COOKIE]
