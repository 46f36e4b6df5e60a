"""`Talk`: what the client of every protocol is built on. Its methods are procedures (see steps.py): no I/O, no clock.

A protocol is a class of its own on top, and one class for each colour, with nothing in it:

    class POP3Talk(Talk): ...                    the procedures
    class POP3(POP3Talk, Session): ...           with prise.open("pop3://...")
    class AsyncPOP3(POP3Talk, AsyncSession): ... async with prise.open("pop3://...")
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from prise.address import Address
from prise.errors import LoginFailed, ProtocolError, TLSError, UsageError
from prise.protocols.credentials import Credentials, Login
from prise.protocols.reader import Reader
from prise.protocols.steps import StartTLS, Steps
from prise.protocols.target import Policy, Target

Trace = Callable[[str, str], None]
"""Hears each line of the protocol: (">" sent, "<" received or "*" what happened, the line without passwords)."""

HIDDEN = "********"
"""What stands in a trace where a password was."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Options:
    """How a session is to be. credentials: who logs in. trace: who hears the lines. more: what this protocol alone knows, by
    name (keyword arguments of `prise.open`)."""

    credentials: Credentials = field(default_factory=Credentials)
    trace: Trace | None = None
    more: dict[str, Any] = field(default_factory=dict)


class Talk:
    """One talk with one server.

    target: the URL it began with. encrypted: TLS is there. agreed: what a TLS that was there from the start agreed on, a
    `TLSInfo`. local: our end of the main link. reader: what came on it.
    logs_in: the protocol is of no use without a login, so TLS is insisted on from the start.
    options_known: the keyword arguments that `prise.open` passes on to this protocol.
    """

    logs_in: ClassVar[bool] = False
    options_known: ClassVar[tuple[str, ...]] = ()

    def __init__(self, target: Target, options: Options) -> None:
        self.target = target
        self.options = options
        self.encrypted = False
        self.agreed: Any = None
        self.local: Address | None = None
        self.reader = Reader()
        self.failed = False  # the caller's `with` ends by an error
        self._tracing = options.trace is not None

    # -- what a protocol defines ---------------------------------------------------------------------------------------

    def hello(self) -> Steps[None]:
        """From the connection to the first command: the greeting, STARTTLS, the login."""
        return
        yield

    def bye(self) -> Steps[None]:
        """The protocol's farewell. What goes wrong in it no longer matters."""
        return
        yield

    # -- what it builds on ---------------------------------------------------------------------------------------------

    def say(self, line: str | bytes, shown: str | None = None) -> Steps[None]:
        """Sends one command; its end is added. shown: what a trace shows in its place (a password). Raises UsageError for a
        command that holds a line end, which would be two."""
        try:
            data = line.encode(errors="surrogateescape") if isinstance(line, str) else line  # as `hear` has decoded it
        except UnicodeEncodeError:
            raise UsageError("a command cannot hold half of a surrogate pair (U+D800 to U+DFFF)") from None
        if b"\r" in data or b"\n" in data or b"\0" in data:
            raise UsageError(
                "a command cannot hold line ends or NUL: {line!r}", line=(shown or data.decode(errors="replace"))[:80]
            )
        if self._tracing:
            self.trace(">", shown if shown is not None else data.decode(errors="replace"))
        yield data + b"\r\n"

    def hear(self) -> Steps[str]:
        """The next line, as text: UTF-8, and what is not is kept (surrogateescape)."""
        line = yield from self.reader.line()
        text = line.decode(errors="surrogateescape")
        if self._tracing:
            self.trace("<", text)
        return text

    def trace(self, direction: str, line: str) -> None:
        """Tells who listens, if anybody does."""
        if self.options.trace is not None:
            self.options.trace(direction, cleaned(line))

    def start_tls(self) -> Steps[None]:
        """Encrypts the main link, both sides having agreed. Raises ProtocolError for what came behind that agreement in clear
        (the STARTTLS injection, CVE-2011-0411), TLSError."""
        if self.reader.pending:
            raise ProtocolError(
                "the server sent {count} bytes more, in clear, behind its answer to STARTTLS: somebody may have put them there",
                operation="STARTTLS",
                count=self.reader.pending,
            )
        yield StartTLS()
        self.encrypted = True
        if self._tracing:
            self.trace("*", "TLS")

    def policy(self, login: bool) -> Policy:
        """What is to be done about TLS where the connection began in clear. login: a password is going to be sent."""
        return self.target.policy or ("required" if login else "optional")

    def must_encrypt(self) -> TLSError:
        """The error where TLS is required and the server does not offer it."""
        return TLSError(
            "the server does not offer TLS, and a password is not sent in clear; if you accept that, write {example}",
            peer=self.target,
            example=f"{self.target}?tls=never",
        )

    def login(self, needed: bool = True) -> Login | None:
        """Who logs in, if anybody is known. Raises UsageError where somebody must and nobody is."""
        login = self.options.credentials.find(self.target, needed)
        if login is None and self.logs_in and needed:
            raise self.no_login()
        return login

    def no_login(self) -> UsageError:
        """The error where somebody must log in and nobody is known, or the password is not."""
        user = self.options.credentials.user or self.target.user
        if user is not None:
            return UsageError(
                "{host} wants the password of {user}: put it into ~/.netrc, or give it to a command by --password-fd",
                peer=self.target,
                host=self.target.host,
                user=user,
            )
        return UsageError(
            "{host} wants a user and a password: write {example}, or put them into ~/.netrc",
            peer=self.target,
            host=self.target.host,
            example=self._with_user(),
        )

    def login_wanted(self, code: str, words: str) -> LoginFailed:
        """The error where the server refuses something to people that it does not know."""
        return LoginFailed(
            "the server said: {code} {words}; it wants a user and a password: write {example}, or put them into ~/.netrc",
            operation="login",
            peer=self.target,
            code=code,
            words=words,
            example=self._with_user(),
        )

    def _with_user(self) -> str:
        host = f"[{self.target.host}]" if ":" in self.target.host else self.target.host
        return f"{self.target.scheme}://user@{host}/"


def cleaned(text: str) -> str:
    """A server's text, fit for a terminal: without characters that would move its cursor; newlines and tabs stay."""
    text = text.encode(errors="surrogateescape").decode(errors="replace")
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
