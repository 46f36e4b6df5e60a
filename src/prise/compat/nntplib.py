"""The interface of Python's `nntplib`, dropped in 3.13, on top of prise: methods, results and exceptions are the same.

    import prise.compat.nntplib as nntplib

    with nntplib.NNTP("news.example.org") as news:
        response, count, first, last, name = news.group("comp.lang.python")

What differs: certificates are verified unless a context says otherwise; a line may have 64 KiB; what would be two commands,
because an argument holds a line end, is a ValueError. For new programs `prise.open("nntp://...")` is the better way.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable
from datetime import date as Date
from datetime import datetime
from ssl import SSLContext
from typing import Any

from prise.compat._nntpbase import GLOBAL_TIMEOUT, Connected, File
from prise.compat._nntpdata import (
    FIRST_FIELDS,
    ArticleInfo,
    GroupInfo,
    NNTPDataError,
    NNTPError,
    NNTPPermanentError,
    NNTPProtocolError,
    NNTPReplyError,
    NNTPTemporaryError,
    date_words,
    decode_header,
    descriptions_of,
    groups_of,
    overview_fields,
    overviews_of,
)
from prise.tls import TLS

__all__ = [
    "NNTP",
    "NNTP_SSL",
    "NNTPDataError",
    "NNTPError",
    "NNTPPermanentError",
    "NNTPProtocolError",
    "NNTPReplyError",
    "NNTPTemporaryError",
    "decode_header",
]

NNTP_PORT = 119
NNTP_SSL_PORT = 563

_NUMBERED = re.compile(r"([0-9]+) ?(.*)\n?")

Spec = str | int | None
Overviews = list[tuple[int, dict[str, str | None]]]


class NNTP(Connected):
    """A session with a news server."""

    def __init__(
        self,
        host: str,
        port: int = NNTP_PORT,
        user: str | None = None,
        password: str | None = None,
        readermode: Any = None,
        usenetrc: bool = False,
        timeout: float | None = GLOBAL_TIMEOUT,
    ) -> None:
        """readermode: send MODE READER first. usenetrc: look for user and password in ~/.netrc. timeout: seconds; by
        default socket.getdefaulttimeout()."""
        self._connect(host, port, timeout, False, None)
        self._begin(user, password, readermode, usenetrc)

    # -- groups --------------------------------------------------------------------------------------------------------

    def newgroups(self, date: Date, *, file: File = None) -> tuple[str, builtins.list[GroupInfo]]:
        """(response, groups) created since then."""
        day, time = date_words(date, self.nntp_version > 1)
        response, lines = self._longcmdstring(f"NEWGROUPS {day} {time}", file)
        return response, groups_of(lines)

    def newnews(self, group: str, date: Date, *, file: File = None) -> tuple[str, builtins.list[str]]:
        """(response, message-ids) of the articles that came since then."""
        day, time = date_words(date, self.nntp_version > 1)
        return self._longcmdstring(f"NEWNEWS {group} {day} {time}", file)

    def list(self, group_pattern: str | None = None, *, file: File = None) -> tuple[str, builtins.list[GroupInfo]]:
        """(response, groups)."""
        response, lines = self._longcmdstring("LIST" if group_pattern is None else f"LIST ACTIVE {group_pattern}", file)
        return response, groups_of(lines)

    def description(self, group: str) -> str:
        """Of one group; "" if there is none."""
        _, found = self.descriptions(group)
        return next(iter(found.values()), "")

    def descriptions(self, group_pattern: str) -> tuple[str, dict[str, str]]:
        """(response, {group: description})."""
        response, lines = self._longcmdstring(f"LIST NEWSGROUPS {group_pattern}")
        if not response.startswith("215"):
            response, lines = self._longcmdstring(f"XGTITLE {group_pattern}")
        return response, descriptions_of(lines)

    def group(self, name: str) -> tuple[str, int, int, int, str]:
        """(response, how many articles, first, last, name)."""
        response = self._shortcmd(f"GROUP {name}")
        if not response.startswith("211"):
            raise NNTPReplyError(response)
        words = response.split()
        count, first, last = (int(word) for word in (*words[1:4], *"000"[: max(4 - len(words), 0)]))
        return response, count, first, last, words[4].lower() if len(words) > 4 else name

    def help(self, *, file: File = None) -> tuple[str, builtins.list[str]]:
        """(response, lines)."""
        return self._longcmdstring("HELP", file)

    # -- articles ------------------------------------------------------------------------------------------------------

    def _pointed(self, line: str) -> tuple[str, int, str]:
        response = self._shortcmd(line)
        return response, *_pointer(response)

    def stat(self, message_spec: Spec = None) -> tuple[str, int, str]:
        """(response, number, message-id)."""
        return self._pointed(_about("STAT", message_spec))

    def next(self) -> tuple[str, int, str]:
        """As `stat`, for the next article."""
        return self._pointed("NEXT")

    def last(self) -> tuple[str, int, str]:
        """As `stat`, for the article before."""
        return self._pointed("LAST")

    def _article(self, line: str, file: File) -> tuple[str, ArticleInfo]:
        response, lines = self._longcmd(line, file)
        return response, ArticleInfo(*_pointer(response), lines)

    def head(self, message_spec: Spec = None, *, file: File = None) -> tuple[str, ArticleInfo]:
        """(response, (number, message-id, lines))."""
        return self._article(_about("HEAD", message_spec), file)

    def body(self, message_spec: Spec = None, *, file: File = None) -> tuple[str, ArticleInfo]:
        """As `head`."""
        return self._article(_about("BODY", message_spec), file)

    def article(self, message_spec: Spec = None, *, file: File = None) -> tuple[str, ArticleInfo]:
        """As `head`."""
        return self._article(_about("ARTICLE", message_spec), file)

    def slave(self) -> str:
        return self._shortcmd("SLAVE")

    def xhdr(
        self, hdr: str, str: str, *, file: File = None
    ) -> tuple[builtins.str, builtins.list[tuple[builtins.str, ...] | builtins.str]]:
        """(response, [(number, value)])."""
        response, lines = self._longcmdstring(f"XHDR {hdr} {str}", file)
        matches = ((line, _NUMBERED.match(line)) for line in lines)
        return response, [match.group(1, 2) if match else line for line, match in matches]

    def xover(self, start: int, end: int, *, file: File = None) -> tuple[str, Overviews]:
        """(response, [(number, {field: value})])."""
        return self._overviews(f"XOVER {start}-{end}", file)

    def over(
        self, message_spec: Spec | tuple[Spec, Spec] | builtins.list[Spec], *, file: File = None
    ) -> tuple[str, Overviews]:
        """As `xover`. message_spec: a message-id, (start, end) where end may be None, or None for the current article."""
        command = "OVER" if "OVER" in self.getcapabilities() else "XOVER"
        if isinstance(message_spec, tuple | builtins.list):
            start, end = message_spec
            return self._overviews(f"{command} {start}-{end or ''}", file)
        return self._overviews(_about(command, message_spec), file)

    def _overviews(self, line: str, file: File) -> tuple[str, Overviews]:
        response, lines = self._longcmdstring(line, file)
        return response, overviews_of(lines, self._overview_fields())

    def _overview_fields(self) -> builtins.list[str]:
        if self._fields is None:
            try:
                _, lines = self._longcmdstring("LIST OVERVIEW.FMT")
            except NNTPPermanentError:
                self._fields = FIRST_FIELDS[:]
            else:
                self._fields = overview_fields(lines)
        return self._fields

    def date(self) -> tuple[str, datetime]:
        """(response, the server's clock in UTC, without a time zone)."""
        response = self._shortcmd("DATE")
        if not response.startswith("111"):
            raise NNTPReplyError(response)
        words = response.split()
        if len(words) != 2 or len(words[1]) != 14:
            raise NNTPDataError(response)
        return response, datetime.strptime(words[1], "%Y%m%d%H%M%S")

    # -- posting -------------------------------------------------------------------------------------------------------

    def post(self, data: bytes | Iterable[bytes]) -> str:
        """Posts an article: bytes, a file or lines."""
        return self._give("POST", data)

    def ihave(self, message_id: str, data: bytes | Iterable[bytes]) -> str:
        """Offers an article as one server does to another."""
        return self._give(f"IHAVE {message_id}", data)

    def _give(self, line: str, data: bytes | Iterable[bytes]) -> str:
        response = self._shortcmd(line)
        if not response.startswith("3"):
            raise NNTPReplyError(response)
        return self._hand_over(data)


class NNTP_SSL(NNTP):
    """The same through TLS."""

    def __init__(
        self,
        host: str,
        port: int = NNTP_SSL_PORT,
        user: str | None = None,
        password: str | None = None,
        ssl_context: SSLContext | None = None,
        readermode: Any = None,
        usenetrc: bool = False,
        timeout: float | None = GLOBAL_TIMEOUT,
    ) -> None:
        """ssl_context: None trusts those whom the system trusts (the old module trusted everybody)."""
        self._connect(host, port, timeout, True, None if ssl_context is None else TLS(context=ssl_context))
        self._begin(user, password, readermode, usenetrc)


def _about(command: str, spec: Spec) -> str:
    return command if spec is None else f"{command} {spec}"


def _pointer(response: str) -> tuple[int, str]:
    if not response.startswith("22"):
        raise NNTPReplyError(response)
    words = response.split()
    return int(words[1]), words[2]
