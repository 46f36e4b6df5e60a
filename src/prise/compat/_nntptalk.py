"""What the old `nntplib` says and hears, as procedures of prise, and errors of prise as those of that module."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from ssl import SSLError

from prise.compat._nntpdata import NNTPDataError
from prise.connection.blocking import in_running_loop
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
from prise.protocols.steps import Flow, Steps
from prise.protocols.talk import HIDDEN
from prise.tls import TLS

MOST_HELD = 1024 * 1024 * 1024
"""Bytes of memory that the lines of an answer may take; with a file there is no bound."""

LINE_COST = 40  # bytes that Python needs for a line beside its text


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
    def ask(self, line: bytes, shown: str) -> Steps[str]:
        """Sends a command; the first line of its answer. shown: the command without a password."""
        yield from self.say(line, shown)
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

        return Flow(self.reader.dotted_items())
        yield

    @procedure
    def give(self, article: bytes) -> Steps[str]:
        """Sends an article; the answer to it."""
        yield from self.send(dotted(article))
        return (yield from self.hear())

    @procedure
    def encrypt(self) -> Steps[None]:
        yield from self.start_tls()


def shown(line: str) -> str:
    """A command as it may be shown: without the password."""
    return f"authinfo pass {HIDDEN}" if line.startswith("authinfo pass ") else line


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


def opened(session: CompatSession) -> CompatSession:
    """The session, open. Where an asyncio loop runs (in each cell of a notebook) prise refuses to block; the old module did not
    mind, so another thread does it, which has no loop."""
    if not in_running_loop():
        return session.open()
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(session.open).result()


def _of_the_system(error: PriseError) -> OSError:
    """The error of the operating system behind this one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and not isinstance(cause, PriseError):
            return cause
        cause = cause.__cause__
    return error if isinstance(error, OSError) else OSError(str(error))
