"""What a URL asks for: the protocol, the server, the user, and what is wanted there.

    SCHEME[s]://[USER[:PASSWORD]@]HOST[:PORT][/PLACE][?tls=POLICY]        RFC 3986; the last `s` is TLS from the first byte

PLACE stays percent-encoded, since each protocol cuts it in its own way first. What is decoded may hold no CR, LF or NUL: those
would be commands of their own.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple
from urllib.parse import quote, unquote

from prise.errors import AddressError, UsageError
from prise.hostport import read_host_port

Policy = Literal["required", "optional", "never"]
"""What is to be done where a connection begins in clear: STARTTLS or nothing; if it is offered; not at all."""

LONGEST = 8192  # characters of a URL


class Scheme(NamedTuple):
    """protocol: whose client it is. port: where none is given; service: its name in services(5). tls: from the first byte."""

    protocol: str
    port: int
    service: str
    tls: bool = False


SCHEMES = {
    "http": Scheme("http", 80, "http"),
    "https": Scheme("http", 443, "https", True),
    "nntp": Scheme("nntp", 119, "nntp"),
    "nntps": Scheme("nntp", 563, "nntps", True),
    "news": Scheme("nntp", 119, "nntp"),
    "snews": Scheme("nntp", 563, "nntps", True),
    "ftp": Scheme("ftp", 21, "ftp"),
    "ftps": Scheme("ftp", 990, "ftps", True),
    "smtp": Scheme("smtp", 25, "smtp"),
    "smtps": Scheme("smtp", 465, "submissions", True),
    "submission": Scheme("smtp", 587, "submission"),
    "submissions": Scheme("smtp", 465, "submissions", True),
    "pop3": Scheme("pop3", 110, "pop3"),
    "pop3s": Scheme("pop3", 995, "pop3s", True),
    "imap": Scheme("imap", 143, "imap2"),
    "imaps": Scheme("imap", 993, "imaps", True),
    "telnet": Scheme("telnet", 23, "telnet"),
    "telnets": Scheme("telnet", 992, "telnets", True),
    "gopher": Scheme("gopher", 70, "gopher"),
    "gophers": Scheme("gopher", 70, "gopher", True),
}
"""IANA's ports. People hand in their mail at 587 (RFC 6409) or 465 (RFC 8314); 25 is for servers among themselves, and on the
own machine. `gophers` has no port of its own: servers speak TLS on the usual one."""

_POLICY = re.compile(r"[?&]tls=(required|optional|never)\Z")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff]")
_WHERE = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]*))?")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, taken apart.

    scheme: as written, in lower case. protocol: "nntp" for nntp, nntps, news... tls: encrypted from the first byte.
    policy: STARTTLS as `?tls=` says, None where it does not. user, password: decoded; None where not given. place: what comes
    after the slash behind the host, with its query, percent-encoded. mechanism: how to log in, as `;AUTH=` behind the user says
    (RFC 5092, RFC 2384); None where it does not, or for any ("*").
    """

    scheme: str
    protocol: str
    host: str
    port: int
    tls: bool = False
    policy: Policy | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    place: str = ""
    mechanism: str | None = None

    @classmethod
    def parse(cls, url: str | Target) -> Target:
        """Reads a URL. Raises AddressError, which never shows what may be a password."""
        if isinstance(url, Target):
            return url
        if len(url) > LONGEST or _CONTROL.search(url):
            raise AddressError(
                "a URL has no spaces (write %20) or control characters, and at most {limit} characters", limit=LONGEST
            )
        head, colon, rest = url.partition(":")
        scheme = head.lower()
        known = SCHEMES.get(scheme) if colon else None
        if known is None and "//" not in url and "@" not in url:  # a password may stand before an @
            example = f"https://{url if url[:1].isalnum() else 'example.org/'}"
            raise AddressError("a URL begins with its protocol; write for example {example}", example=example)
        if known is None:
            raise AddressError(
                "the URL begins with {scheme}, which is none of {known}",
                scheme=repr(scheme[:20]),
                known=", ".join(SCHEMES),
            )
        if not rest.startswith("//"):
            if scheme not in ("news", "snews"):
                raise AddressError("the URL has no server; example: {example}", example=f"{scheme}://example.org/")
            rest = f"//{_news_server()}/{rest}"  # RFC 5538 §2: the server is the user's own
        authority = re.split("[/?#]", rest[2:], maxsplit=1)[0]
        place = rest[2 + len(authority) :].removeprefix("/")
        login, at, where = authority.rpartition("@")
        policy: Policy | None = None
        if known.protocol not in ("http", "gopher") and (found := _POLICY.search(place)):
            policy = found.group(1)  # type: ignore[assignment]  # the pattern says which
            place = place[: found.start()]
        user, _, password = login.partition(":")
        user, _, extra = user.partition(";")
        mechanism = extra[5:] if extra[:5].upper() == "AUTH=" else "*"
        host, port = _read_where(where, known.port)
        return cls(
            scheme,
            known.protocol,
            host,
            port,
            known.tls,
            policy,
            decoded(user) if at and user else None,
            decoded(password) if ":" in login else None,
            place,
            None if mechanism == "*" else decoded(mechanism),
        )

    def __str__(self) -> str:
        """The URL without its password: fit for errors and logs."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == SCHEMES[self.scheme].port else f":{self.port}"
        user = "" if self.user is None else f"{quote(self.user, safe='')}@"
        return f"{self.scheme}://{user}{host}{port}/{self.place}"

    def at(self, place: str) -> Target:
        """Another place on the same server, for the same user. place: percent-encoded."""
        return replace(self, place=place)


def decoded(text: str, errors: str = "strict") -> str:
    """Percent-encoded text as it was meant. Raises AddressError for what no command of a protocol could carry.

    errors: "surrogateescape" where a protocol takes bytes that are not UTF-8.
    """
    try:
        plain = unquote(text, errors=errors)
    except UnicodeDecodeError:
        raise AddressError("the URL holds bytes that are not UTF-8 (%xx)") from None
    if any(character in plain for character in "\r\n\0"):
        raise AddressError("a URL cannot hold line ends or NUL (%0D, %0A, %00): they would be commands of their own")
    return plain


def refuse_line_ends(**values: str) -> None:
    """Raises UsageError for a value that would end its command and begin another (command injection)."""
    for name, value in values.items():
        if any(character in value for character in "\r\n\0"):
            raise UsageError("{name} cannot hold line ends or NUL: {value!r}", name=name, value=value[:80])


def _read_where(where: str, usual: int) -> tuple[str, int]:
    match = _WHERE.fullmatch(where)
    if match is None:
        # What stands there may be a password that holds a slash, so it is not shown.
        raise AddressError(
            "a URL has HOST or HOST:PORT, the port a number; in a password, {plain} are written {encoded}",
            plain=": / ? # @ [ ]",
            encoded="%3A %2F %3F %23 %40 %5B %5D",
        )
    host = unquote(match[1])  # the zone of an IPv6 address is written %25eth0 (RFC 6874)
    if _CONTROL.search(host):
        raise AddressError("the host of a URL has no spaces or control characters")
    name, port = read_host_port(host, f"{host}:{match[2] or usual}")
    assert isinstance(port, int)  # the pattern says so
    return name or "localhost", port


def _news_server() -> str:
    server = os.environ.get("NNTPSERVER", "")
    if not server:
        raise AddressError(
            "a news: URL without a server needs NNTPSERVER in the environment, or write {example}",
            example="nntp://news.example.org/comp.lang.python",
        )
    return server
