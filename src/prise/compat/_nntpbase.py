"""The session under the old `nntplib`: its coming and going, and one command with its answer, in that module's terms."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import nullcontext
from ssl import SSLContext
from types import TracebackType
from typing import IO, Any, Self

from prise.compat._nntpdata import (
    NNTPError,
    NNTPPermanentError,
    NNTPProtocolError,
    NNTPReplyError,
    NNTPTemporaryError,
    article_of,
    netrc_login,
)
from prise.compat._nntptalk import CompatSession, old_errors, opened, shown
from prise.protocols.mover import Way
from prise.protocols.talk import Options
from prise.protocols.target import Target
from prise.tls import TLS

File = str | bytes | IO[bytes] | None

GLOBAL_TIMEOUT: Any = object()

LONG = {"100", "101", "211", "215", "220", "221", "222", "224", "225", "230", "231", "282"}
"""Answers that a text follows."""


class Connected:
    """A connection with a server. The attributes are those of the old module."""

    encoding = "utf-8"
    errors = "surrogateescape"

    def _connect(self, host: str, port: int, timeout: float | None, tls_on: bool, tls: TLS | None) -> None:
        if timeout is GLOBAL_TIMEOUT:
            timeout = socket.getdefaulttimeout()
        elif timeout is not None and not timeout:
            raise ValueError("Non-blocking socket (timeout=0) is not supported")
        self.host = host
        self.port = port
        self.debugging = 0
        self.tls_on = tls_on
        self._is_open = False
        target = Target("nntps" if tls_on else "nntp", "nntp", host, port, tls_on, "never")
        with old_errors():
            self._session = opened(CompatSession(target, Options(), Way(tls=tls, timeout=timeout)))
        self._is_open = True

    def _close(self) -> None:
        self._is_open = False
        self._session.close()

    def _put_tls(self, context: SSLContext | None) -> None:
        self._session.trust(None if context is None else TLS(context=context))
        with old_errors():
            self._session.encrypt()
        self.tls_on = True

    def _greeting(self) -> str:
        with old_errors():
            return self._checked(self._session.hear_line())

    # -- one command ---------------------------------------------------------------------------------------------------
    # _shortcmd, _longcmd, _longcmdstring: the old names, since programs use them for commands that the module did not know.

    def _checked(self, heard: str) -> str:
        # prise reads UTF-8, and keeps what is not; programs may set another encoding.
        response = heard.encode("utf-8", "surrogateescape").decode(self.encoding, self.errors)
        if self.debugging:
            print("*resp*", repr(response))
        kind = response[:1]
        if kind == "4":
            raise NNTPTemporaryError(response)
        if kind == "5":
            raise NNTPPermanentError(response)
        if kind not in ("1", "2", "3"):
            raise NNTPProtocolError(response)
        return response

    def _shortcmd(self, line: str) -> str:
        if self.debugging:
            print("*cmd*", repr(shown(line)))
        if self._session.broken:
            raise EOFError("the connection is of no use any more")
        data = line.encode(self.encoding, self.errors)
        with old_errors():
            return self._checked(self._session.ask(data, shown(line)))

    def _longcmd(self, line: str, file: File = None) -> tuple[str, list[bytes]]:
        """The answer and the lines behind it; with a file they go into that, and none are returned."""
        # Before anything is said: a file that cannot be opened leaves no answer unread.
        place: Any = open(file, "wb") if isinstance(file, str | bytes) else nullcontext(file)  # noqa: SIM115 - it is below
        with place as written:
            response = self._shortcmd(line)
            if response[:3] not in LONG:
                raise NNTPReplyError(response)
            with old_errors():
                if written is None:
                    return response, self._session.all_lines()
                with self._session.text() as pieces:
                    for piece in pieces:
                        written.write(piece)
        return response, []

    def _longcmdstring(self, line: str, file: File = None) -> tuple[str, list[str]]:
        response, lines = self._longcmd(line, file)
        return response, [each.decode(self.encoding, self.errors) for each in lines]

    def _hand_over(self, data: bytes | Iterable[bytes]) -> str:
        try:
            article = article_of(data)
        except BaseException:
            self._session.abort()  # the server waits for an article, and would take the next command for its first line
            raise
        with old_errors():
            return self._checked(self._session.give(article))

    # -- coming and going ----------------------------------------------------------------------------------------------

    def _begin(self, user: str | None, password: str | None, readermode: Any, usenetrc: bool) -> None:
        self._caps: dict[str, list[str]] | None = None
        self._fields: list[str] | None = None
        self.authenticated = False
        self.readermode_afterauth = False
        try:
            self.welcome = self._greeting()
            self.getcapabilities()
            if readermode and "READER" not in self.getcapabilities():
                self._set_reader_mode()
                if not self.readermode_afterauth:
                    self._refresh_capabilities()
            if user or usenetrc:
                self.login(user, password, usenetrc)
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_open:
            try:
                self.quit()
            except (OSError, EOFError):
                pass
            finally:
                self._close()

    def getwelcome(self) -> str:
        """The server's greeting: 200 posting is allowed, 201 it is not."""
        return self.welcome

    def getcapabilities(self) -> dict[str, list[str]]:
        """What CAPABILITIES said when the session began, {} where the server does not know it."""
        if self._caps is None:
            self.nntp_version = 1
            self.nntp_implementation: str | None = None
            try:
                _, caps = self.capabilities()
            except (NNTPPermanentError, NNTPTemporaryError):
                self._caps = {}
            else:
                self._caps = caps
                if "VERSION" in caps:
                    self.nntp_version = max(map(int, caps["VERSION"]))
                if "IMPLEMENTATION" in caps:
                    self.nntp_implementation = " ".join(caps["IMPLEMENTATION"])
        return self._caps

    def capabilities(self) -> tuple[str, dict[str, list[str]]]:
        """(response, {name: arguments})."""
        response, lines = self._longcmdstring("CAPABILITIES")
        return response, {name: words for name, *words in (line.split() for line in lines)}

    def _refresh_capabilities(self) -> None:
        self._caps = None
        self.getcapabilities()

    def _set_reader_mode(self) -> None:
        try:
            self.welcome = self._shortcmd("mode reader")
        except NNTPPermanentError:
            pass  # it has no such modes
        except NNTPTemporaryError as error:
            if not error.response.startswith("480"):
                raise
            self.readermode_afterauth = True

    def set_debuglevel(self, level: int) -> None:
        """1: commands and answers are printed."""
        self.debugging = level

    debug = set_debuglevel

    def login(self, user: str | None = None, password: str | None = None, usenetrc: bool = True) -> None:
        """Logs in. Raises ValueError without a user and `usenetrc`, and the second time."""
        if self.authenticated:
            raise ValueError("Already logged in.")
        if not user and not usenetrc:
            raise ValueError("At least one of `user` and `usenetrc` must be specified")
        if usenetrc and not user:
            user, password = netrc_login(self.host)
        if not user:
            return
        response = self._shortcmd(f"authinfo user {user}")
        if response.startswith("381"):
            if not password:
                raise NNTPReplyError(response)
            response = self._shortcmd(f"authinfo pass {password}")
            if not response.startswith("281"):
                raise NNTPPermanentError(response)
        self.authenticated = True
        self._refresh_capabilities()
        if self.readermode_afterauth and "READER" not in self.getcapabilities():
            self._set_reader_mode()
            self._refresh_capabilities()

    def starttls(self, context: SSLContext | None = None) -> None:
        """Encrypts the connection. Raises ValueError where it is too late for that."""
        if self.tls_on:
            raise ValueError("TLS is already enabled.")
        if self.authenticated:
            raise ValueError("TLS cannot be started after authentication.")
        if not self._shortcmd("STARTTLS").startswith("382"):
            raise NNTPError("TLS failed to start.")
        self._put_tls(context)
        self._refresh_capabilities()

    def quit(self) -> str:
        """Says farewell and closes."""
        try:
            return self._shortcmd("QUIT")
        finally:
            self._close()
