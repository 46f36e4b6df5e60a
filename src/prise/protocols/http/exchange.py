"""One request to its answer, whatever lies between: a link that must be made anew, redirects, a login, cookies.

A session has one link at a time. A redirect to another server ends it and dials there; the next request to the first server
dials again. Passwords, cookies and what the caller has put into headers go to the server that they are meant for alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urljoin

from prise.errors import (
    AddressError,
    ConnectionLost,
    FrameError,
    LoginFailed,
    NotFound,
    ProtocolError,
    Refused,
    TLSError,
    TooSlow,
    UsageError,
)
from prise.protocols.credentials import Login
from prise.protocols.http.http1 import HTTP1
from prise.protocols.http.http2 import HTTP2, check_installed
from prise.protocols.http.login import Authorization, Basic, Bearer, Digest, answer, read_challenges
from prise.protocols.http.message import (
    RESERVED,
    Head,
    Request,
    Response,
    checked_headers,
    host_of,
    same_origin,
    url_of,
)
from prise.protocols.mover import Way
from prise.protocols.steps import Now, Reconnect, Steps
from prise.protocols.talk import Options, Talk, cleaned
from prise.protocols.target import Target
from prise.tls import TLS

MOST_REDIRECTS = 10

MOST_SKIPPED = 64 * 1024
"""Bytes of an answer that nobody wants which are read away; behind a longer one the link is made anew."""

SKIPPING = 3.0
"""Seconds for that."""

MOST_LOGINS = 3
"""Of one request: by another way, and with a new number (Digest). A server may ask for more without end."""

_REDIRECTS = (301, 302, 303, 307, 308)
_SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
_ELSEWHERE = ("accept", "accept-encoding", "accept-language", "content-type", "if-range", "range", "user-agent")
"""The headers that a redirect may take to another server: the caller's own may hold a key."""


class Exchange(Talk):
    """response: the last answer, without its body where that was not read at once."""

    options_known = ("headers", "http2", "compressed", "downgrade")

    def __init__(self, target: Target, options: Options, *way: Way) -> None:
        self._headers = checked_headers(options.more.get("headers"))
        if options.more.get("http2"):
            check_installed()
            way = tuple(replace(each, tls=_offering_http2(each.tls)) for each in way)
        super().__init__(target, options, *way)
        self.response: Response | None = None
        self._wire: HTTP1 | HTTP2 | None = None
        self._at: Target | None = target  # where the link leads; None where there is none
        self._tags: dict[str, str] = {}  # URL -> the version of the file that was read (ETag)
        self._authorization: Authorization | None = None
        self._cookies: Any = None  # made when a server sets one: its module takes 30 ms to import

    # -- the link ------------------------------------------------------------------------------------------------------

    def _link_to(self, target: Target) -> Steps[tuple[HTTP1 | HTTP2, bool]]:
        """What the next request goes over; True where it was used before."""
        wire, here = self._wire, self._at is not None and same_origin(target, self._at)
        if wire is not None and here:
            try:
                if (yield from wire.usable()):
                    return wire, True
            except (ConnectionLost, FrameError):
                pass  # it broke meanwhile, or what came unasked makes no sense
        if wire is not None or not here:
            self._wire = self._at = None
            self.agreed = yield Reconnect(target)
            self.encrypted = self.agreed is not None
        self._at = target
        self._wire = wire = HTTP2(self) if self.agreed is not None and self.agreed.alpn == "h2" else HTTP1(self)
        yield from wire.start()
        return wire, False

    def _once(self, request: Request) -> Steps[Head]:
        """One request, one answer. What changes nothing is said again, once, where a server had just closed a link that we
        thought was there (RFC 9112 §9.3.1)."""
        wire, used = yield from self._link_to(request.target)
        sent = self._dressed(request)
        try:
            return (yield from wire.ask(sent))
        except ConnectionLost:
            if not used or wire.answered or request.method not in _SAFE or not (sent.body is None or sent.body.ready):
                raise
        self.trace("*", "connecting again")
        wire, _ = yield from self._link_to(request.target)
        return (yield from wire.ask(sent))

    def _dressed(self, request: Request) -> Request:
        """With what is added to each request: who we are, who logs in, cookies."""
        import prise

        headers = {"User-Agent": f"prise/{prise.__version__}", "Accept": "*/*"}
        _add(headers, self._headers if self._is_home(request.target) else _harmless(self._headers))
        _add(headers, request.headers)
        if request.body is not None and request.body.kind is not None:
            headers = {"Content-Type": request.body.kind, **_without(headers, "content-type")}
        names = {name.lower() for name in headers}
        if "authorization" not in names and self._is_home(request.target):
            self._authorization = self._authorization or self._at_once()
            if self._authorization is not None:
                headers["Authorization"] = self._authorization.header(request.method, request.path)
        if "cookie" not in names and self._cookies is not None and (cookie := self._cookies.header(request)):
            headers["Cookie"] = cookie
        return replace(request, headers=headers)

    def _is_home(self, target: Target) -> bool:
        """Whether this is the server that the session was opened for, or the same one with TLS."""
        home = self.target
        with_tls = target.tls and (home.port, target.port) == (80, 443) and home.host.lower() == target.host.lower()
        return same_origin(target, home) or with_tls

    # -- redirects and logins ------------------------------------------------------------------------------------------

    def _exchange(self, request: Request, follow: bool = True) -> Steps[Head]:
        """The answer that counts; its body is to be read. `response` is set."""
        history: list[str] = []
        logins = 0
        self.response = None
        while True:
            head = yield from self._once(request)
            body = request.body
            if "set-cookie" in head.headers:
                self._keep_cookies(request, head)
            if head.status == 401 and logins < MOST_LOGINS and self._log_in(request, head):
                logins += 1
                yield from self._skip()
            elif head.status == 417 and body is not None and body.asks and body.ready:
                body.asks = False  # RFC 9110 §10.1.1
                yield from self._skip()
            elif follow and head.status in _REDIRECTS and "location" in head.headers:
                yield from self._skip()
                history.append(url_of(request.target))
                request = self._redirected(request, head, history)
            else:
                break
        self.response = Response(
            head.status, head.reason, head.headers, url_of(request.target), head.version, tuple(history)
        )
        return head

    def _redirected(self, request: Request, head: Head, history: list[str]) -> Request:
        """The request that a redirect leads to (RFC 9110 §15.4)."""
        location = quote(head.headers.all("location")[0], safe=RESERVED + "#", errors="surrogateescape")
        try:
            target = Target.parse(urljoin(history[-1], location).partition("#")[0])
            if target.protocol == "http":
                host_of(target)  # which must be the name of one
        except (AddressError, UsageError, ValueError):
            raise ProtocolError(
                "the server redirects to what is no URL: {location!r}", peer=request.target, location=location[:200]
            ) from None
        target = replace(target, user=None, password=None)
        if target.protocol != "http":
            raise Refused(
                "the server redirects to {location}, which is not HTTP: open it instead",
                peer=request.target,
                code=str(head.status),
                location=target,
            )
        if request.target.tls and not target.tls and not self.options.more.get("downgrade"):
            raise TLSError(
                "the server redirects from https to {location}, without TLS; if you accept that, give downgrade=True",
                peer=request.target,
                location=target,
            )
        if len(history) > MOST_REDIRECTS:
            raise ProtocolError(
                "the server redirects in a circle: {location}"
                if url_of(target) in history
                else "the server redirects more than {limit} times, at last to {location}",
                peer=request.target,
                limit=MOST_REDIRECTS,
                location=target,
            )
        to_get = head.status == 303 or (head.status in (301, 302) and request.method == "POST")
        body = request.body
        if to_get:
            request = replace(request, method="HEAD" if request.method == "HEAD" else "GET", body=None)
            request.headers = _without(request.headers, "content-type")
        elif body is not None and not body.ready:
            raise Refused(
                "the server redirects to {location}, and what was sent cannot be sent again: put it there",
                peer=request.target,
                code=str(head.status),
                location=target,
            )
        headers = request.headers if same_origin(target, request.target) else _harmless(request.headers)
        return replace(request, target=target, headers=headers)

    def _at_once(self) -> Authorization | None:
        """What needs no question: a login that was said outright, over TLS. In clear the server may know a way that shows
        nothing (Digest), so it is asked first."""
        if not self.encrypted or (login := self._outright()) is None:
            return None
        return Bearer(login) if login.token else Basic(login)

    def _outright(self) -> Login | None:
        """The login that the caller or the URL gives in full."""
        known = self.options.credentials
        if known.token is not None and known.user is None and self.target.user is None:
            return Login("", known.token, token=True)
        return replace(known, use_netrc=False).find(self.target, needed=False)

    def _log_in(self, request: Request, head: Head) -> bool:
        """True where there is something new to try."""
        named = {name.lower() for name in (*self._headers, *request.headers)}
        if not self._is_home(request.target) or "authorization" in named:
            return False
        if request.body is not None and not request.body.ready:
            return False
        outright = self._outright()
        login = outright or self.login()
        if login is None:
            return False
        challenges = read_challenges(head.headers)
        new = answer(challenges, login)
        stale = any(each.details.get("stale", "").lower() == "true" for each in challenges)
        if new is None or (type(new) is type(self._authorization) and not (stale and isinstance(new, Digest))):
            return False
        if new.tells and outright is None and not self.encrypted and not _is_here(self.target.host):
            raise TLSError(
                "the server has no TLS, and the password would be sent in clear; if you accept that, give user and password "
                "outright",
                peer=self.target,
            )
        self._authorization = new
        return True

    def _keep_cookies(self, request: Request, head: Head) -> None:
        from prise.protocols.http.cookies import Cookies

        self._cookies = self._cookies or Cookies()
        self._cookies.keep(request, head.headers)

    # -- what is not wanted --------------------------------------------------------------------------------------------

    def _skip(self) -> Steps[None]:
        """Reads an answer's body away."""
        yield from self._beginning(MOST_SKIPPED)

    def _beginning(self, most: int) -> Steps[bytes]:
        """At least `most` bytes of the body, if it has so many and they come soon."""
        assert self._wire is not None
        found = b""
        end = (yield Now()) + SKIPPING
        try:
            while len(found) < most and (yield from self._wire.comes(max(end - (yield Now()), 0.0))):
                if not (piece := (yield from self._wire.piece())):
                    break
                found += piece
        except (ConnectionLost, TooSlow):
            pass  # what it was about is known: the next request has a link of its own
        return found

    def _refusal(self, head: Head) -> Steps[Refused]:
        """The error that an answer is; its words, and the first lines of what it says where that is plain text."""
        assert self.response is not None
        said = yield from self._beginning(4096)
        words = head.reason or _phrase(head.status)
        if "retry-after" in head.headers:
            words += f" (Retry-After: {cleaned(head.headers['retry-after'])})"
        kind = head.headers.get("content-type", "").lower()
        packed = head.headers.words("content-encoding") not in ([], ["identity"])
        if not packed and (kind.startswith("text/plain") or "json" in kind):
            text = cleaned(said.decode(errors="replace"))
            words = "\n".join([words, *text.strip().splitlines()[:3]])[:500].rstrip()
        if not packed:
            self.response = replace(self.response, content=said)
        here = Target.parse(self.response.url).host == self.target.host
        if head.status == 401 and here and self._outright() is None and self.login(needed=False) is None:
            return self.login_wanted("401", words)
        error = NotFound if head.status in (404, 410) else LoginFailed if head.status in (401, 407) else Refused
        return error(
            operation="login" if error is LoginFailed else "request",
            peer=self.response.url,
            code=str(head.status),
            words=words,
        )


def _add(headers: dict[str, str], more: Mapping[str, str]) -> None:
    """Later ones stand in the place of earlier ones, in any case of letters."""
    for name, value in more.items():
        for known in [each for each in headers if each.lower() == name.lower()]:
            del headers[known]
        headers[name] = value


def _without(headers: Mapping[str, str], name: str) -> dict[str, str]:
    return {each: value for each, value in headers.items() if each.lower() != name}


def _harmless(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() in _ELSEWHERE}


def _is_here(host: str) -> bool:
    """Whether what is sent there does not leave this machine."""
    try:
        return host.lower() == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _phrase(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _offering_http2(tls: TLS | None) -> TLS:
    """The same, and HTTP/2 is offered (ALPN, RFC 7301)."""
    try:
        return (tls or TLS()).with_(alpn=("h2", "http/1.1"))
    except UsageError:
        assert tls is not None
        return tls  # it has a context of the caller's own, who says there what is offered
