"""The session under the old `nntplib`: its coming and going, and one command with its answer, in that module's terms."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from ssl import SSLContext, SSLError
from types import TracebackType
from typing import IO, Any, Self

from prise.compat._nntpdata import (
    NNTPDataError,
    NNTPError,
    NNTPPermanentError,
    NNTPProtocolError,
    NNTPReplyError,
    NNTPTemporaryError,
    netrc_login,
)
from prise.errors import (
    ConnectError,
    ConnectionLost,
    FrameError,
    MessageTooLarge,
    PriseError,
    ResolveError,
    TLSError,
    UsageError,
)
from prise.protocols.nntp.base import NewsTalk
from prise.protocols.nntp.posting import dotted
from prise.protocols.session import Session, content, procedure
from prise.protocols.steps import Flow, Items, Steps
from prise.protocols.talk import HIDDEN, Options
from prise.protocols.target import Target
from prise.tls import TLS

File = str | IO[bytes] | None

GLOBAL_TIMEOUT: Any = object()

MOST_HELD = 1024 * 1024 * 1024
"""Bytes of memory that the lines of an answer may take; with a file there is no bound."""

LINE_COST = 40  # bytes that Python needs for a line beside its text

LONG = {"100", "101", "211", "215", "220", "221", "222", "224", "225", "230", "231", "282"}
"""Answers that a text follows."""


class CompatTalk(NewsTalk):
    """The conversation in its smallest pieces. Nothing is asked of a server but what the program asks."""

    def hello(self) -> Steps[None]:
        return
        yield

    def bye(self) -> Steps[None]:
        return
        yield

    @procedure
    def hear_line(self) -> Steps[str]:
        """The next line of the server."""
        return (yield from self.hear())

    @procedure
    def ask(self, line: str) -> Steps[str]:
        """Sends a command; the first line of its answer."""
        yield from self.say(line.encode("utf-8", "surrogateescape"))
        return (yield from self.hear())

    @procedure
    def all_lines(self) -> Steps[list[bytes]]:
        """The lines of the answer's text, without their ends."""
        found: list[bytes] = []
        size = 0
        while (lines := (yield from self.reader.dotted_lines())) is not None:
            found += lines
            size += sum(map(len, lines)) + LINE_COST * len(lines)
            if size > MOST_HELD:
                raise MessageTooLarge("the answer has more than {limit} bytes", operation="receive", limit=MOST_HELD)
        return found

    @content
    def text(self) -> Steps[Flow[bytes]]:
        """The answer's text, as it is."""

        def pieces() -> Steps[None]:
            while (piece := (yield from self.reader.dotted())) is not None:
                yield Items((piece,))

        return Flow(pieces())
        yield

    @procedure
    def give(self, article: bytes) -> Steps[str]:
        """Sends an article; the answer to it."""
        yield from self.send(dotted(article))
        return (yield from self.hear())

    @procedure
    def encrypt(self) -> Steps[None]:
        yield from self.start_tls()


class CompatSession(CompatTalk, Session):
    def trust(self, tls: TLS | None) -> None:
        """Whom TLS trusts from here on; None: whom the system trusts."""
        self._mover._tls = tls

    @property
    def broken(self) -> bool:
        """The server has gone, or its answer made no sense."""
        return not self._mover.usable


@contextmanager
def old_errors() -> Generator[None, None, None]:
    """The errors of prise as those that programs for `nntplib` know: EOFError, OSError and its kin, NNTPDataError."""
    try:
        yield
    except ConnectionLost as error:
        raise EOFError(str(error)) from error
    except TLSError as error:
        raise SSLError(str(error)) from error
    except (ConnectError, ResolveError) as error:
        raise _of_the_system(error) from error
    except FrameError as error:
        raise NNTPDataError(str(error)) from error
    except UsageError as error:
        raise ValueError(str(error)) from error


def _of_the_system(error: PriseError) -> OSError:
    """The error of the operating system behind this one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, PriseError):
            return cause
        cause = cause.__cause__
    return error if isinstance(error, OSError) else OSError(str(error))


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
            self._session = CompatSession(target, Options(), tls=tls, timeout=timeout).open()
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

    def _checked(self, response: str) -> str:
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

    def _short(self, line: str) -> str:
        if self.debugging:
            print("*cmd*", repr(line if not line.startswith("authinfo pass") else f"authinfo pass {HIDDEN}"))
        if self._session.broken:
            raise EOFError("the connection is of no use any more")
        with old_errors():
            return self._checked(self._session.ask(line))

    def _long(self, line: str, file: File = None) -> tuple[str, list[bytes]]:
        """The answer and the lines behind it; with a file they go into that, and none are returned."""
        response = self._short(line)
        if response[:3] not in LONG:
            raise NNTPReplyError(response)
        with old_errors():
            if file is None:
                return response, self._session.all_lines()
            opened: Any = open(file, "wb") if isinstance(file, str) else nullcontext(file)  # noqa: SIM115 - it is below
            with opened as written, self._session.text() as pieces:
                for piece in pieces:
                    written.write(piece)
        return response, []

    def _long_text(self, line: str, file: File = None) -> tuple[str, list[str]]:
        response, lines = self._long(line, file)
        return response, [each.decode(self.encoding, self.errors) for each in lines]

    def _hand_over(self, article: bytes) -> str:
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
        response, lines = self._long_text("CAPABILITIES")
        return response, {name: words for name, *words in (line.split() for line in lines)}

    def _refresh_capabilities(self) -> None:
        self._caps = None
        self.getcapabilities()

    def _set_reader_mode(self) -> None:
        try:
            self.welcome = self._short("mode reader")
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
        response = self._short(f"authinfo user {user}")
        if response.startswith("381"):
            if not password:
                raise NNTPReplyError(response)
            response = self._short(f"authinfo pass {password}")
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
        if not self._short("STARTTLS").startswith("382"):
            raise NNTPError("TLS failed to start.")
        self._put_tls(context)
        self._refresh_capabilities()

    def quit(self) -> str:
        """Says farewell and closes."""
        try:
            return self._short("QUIT")
        finally:
            self._close()
