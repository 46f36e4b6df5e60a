r"""Telnet (RFC 854): a talk with a terminal's host, by a script that waits for words and answers them.

    with prise.open("telnets://ada@example.org/") as session:
        session.log_in()
        session.send_line("uptime")
        print(session.expect("$ ").before)

What comes is text: bytes that are not in the encoding are kept as "surrogateescape" has them. Telnet's own part of it is answered
meanwhile, see terminal.py.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import replace

from prise.errors import ConnectionLost, LoginFailed, ProtocolError, TooSlow, Unsupported, UsageError
from prise.protocols.credentials import Credentials
from prise.protocols.entry import Entry
from prise.protocols.session import AsyncSession, BaseSession, Session, content, procedure, streaming
from prise.protocols.source import Data
from prise.protocols.steps import Flow, Items, Now, Receive, Steps
from prise.protocols.talk import HIDDEN, Talk, cleaned
from prise.protocols.target import refuse_line_ends
from prise.protocols.telnet.searching import MOST_KEPT, Kept, Match, Pattern, Search
from prise.protocols.telnet.terminal import Terminal
from prise.protocols.telnet.urgent import keep_in_line
from prise.protocols.telnet.wire import doubled

SHOWN = 200
"""Characters of what was seen last, in an error."""

PROMPT = re.compile(r"[$#>%] ?\Z")
"""How most shells ask for a command."""

_NAME = re.compile(r"(?:(?<!last )login|user ?name|user): *\Z", re.IGNORECASE)
_PASSWORD = re.compile(r"pass[^\n]{0,40}: *\Z", re.IGNORECASE)
# "Last login: Tue" is none; the question for the name, again and at the end of all, is.
_NO = re.compile(r"(?:login|access|authentication|password)\W+(?:incorrect|failed|failure|denied|invalid)[^\n]*", re.I)


class TelnetTalk(Talk):
    """terminal, size, encoding: options of `prise.open`: the kind of terminal (default "xterm"), columns and rows (80, 24), and
    how text is written as bytes ("utf-8"; with "latin-1" each character is one byte)."""

    options_known = ("terminal", "size", "encoding")

    encoding = "utf-8"
    _terminal: Terminal
    _decoder: codecs.IncrementalDecoder
    _kept: Kept
    _line: list[str]  # of the trace: begun, and not shown; bound: MOST_KEPT
    _line_size = 0
    _secret = ""  # which an echo may hold: neither a trace nor an error does

    def hello(self) -> Steps[None]:
        if not self.encrypted and self.target.policy == "required":
            raise self.must_encrypt()
        self._kept, self._line = Kept(), []
        more = self.options.more
        self.encoding = more.get("encoding", self.encoding)
        try:
            "".encode(self.encoding, "surrogateescape")  # "rot13" is an encoding too, but none of text
            self._decoder = codecs.getincrementaldecoder(self.encoding)("surrogateescape")
        except (LookupError, UnicodeError):
            raise UsageError("there is no encoding {encoding}", encoding=self.encoding) from None
        user = self.options.credentials.user or self.target.user
        told = self._told if self._tracing else None
        self._terminal = Terminal(more.get("terminal", "xterm"), more.get("size", (80, 24)), user, told)
        return
        yield

    @property
    def echoes(self) -> bool:
        """The server shows what is typed, or hides it, at a password: a terminal here should not show it."""
        return self._terminal.echoes

    @property
    def by_character(self) -> bool:
        """The server wants each key as it is typed."""
        return self._terminal.by_character

    # -- what is sent --------------------------------------------------------------------------------------------------

    @procedure
    def write(self, data: str | bytes, shown: str | None = None) -> Steps[None]:
        r"""Sends text, whose line ends (\n) become telnet's, or bytes, which stay as they are. shown: by a trace in its place."""
        self._told_all()
        if self._tracing:
            text = data if isinstance(data, str) else data.decode(self.encoding, "replace")
            self.trace(">", text.rstrip("\r\n") if shown is None else shown)
        if isinstance(data, str):
            yield self._terminal.send(self._encoded(data))
        else:
            yield doubled(bytes(data))

    @procedure
    def send_line(self, line: str = "", shown: str | None = None) -> Steps[None]:
        """Sends a line; its end is added."""
        yield from self.write.steps(line + "\n", shown)

    @procedure
    def command(self, name: str) -> Steps[None]:
        """Sends a command of telnet: "IP" interrupts, "BRK" is the key Break, "AYT" asks "are you there?"; EOF, SUSP, ABORT, NOP,
        AO, EC, EL, GA."""
        yield self._terminal.command(name)

    @procedure
    def resize(self, columns: int, rows: int) -> Steps[None]:
        """The terminal has another size now. The server is told, if it has asked for it."""
        if news := self._terminal.resize(columns, rows):
            yield news

    @procedure
    def ask_binary(self) -> Steps[None]:
        """Asks for bytes as they are, in both directions (RFC 856): some servers strip the eighth bit otherwise. Whether the
        server agrees shows later."""
        if news := self._terminal.ask_binary():
            yield news

    # -- what comes ----------------------------------------------------------------------------------------------------

    @procedure
    def receive(self, seconds: float | None = None) -> Steps[str | None]:
        """The text that is here, or comes next; "" at the end of all.

        seconds: to wait for it, and then None is returned; 0: only what has come. None: the session's timeout, and then TooSlow.
        """
        until = None if seconds is None else (yield Now()) + seconds
        while not self._kept.text:
            left = None if until is None else max(until - (yield Now()), 0)
            come = yield from self._more(left)
            if come is False:
                return ""
            if come is None or (left == 0 and not self._kept.text):
                return None
        return self._kept.take()

    @procedure
    def expect(self, patterns: Pattern | Sequence[Pattern], timeout: float = 10.0) -> Steps[Match]:
        """Waits until one of the patterns has come, and takes the text up to its end.

        patterns: one or several: words as they are (str; bytes in the session's encoding), or compiled regular expressions.
        Of several that are there, that which begins first; of those, the first of the list. timeout: seconds for it, in all.
        Raises TooSlow, after which the session goes on as before, and ConnectionLost at the end; both show what was seen last.
        """
        search = Search(patterns, self.encoding)
        until = (yield Now()) + timeout
        left: float | None = timeout  # None: it is over
        while (found := search.take(self._kept)) is None:
            come = None if left is None else (yield from self._more(left))
            if come is None:
                raise TooSlow(
                    "none of {patterns} came within {seconds:g} s; seen last: {seen!r}",
                    operation="expect",
                    peer=self.target,
                    patterns=str(search),
                    seconds=timeout,
                    seen=self._fit(self._kept.text)[-SHOWN:],
                )
            if not come:
                raise ConnectionLost(
                    "the server ended, and none of {patterns} came; seen last: {seen!r}",
                    operation="expect",
                    peer=self.target,
                    patterns=str(search),
                    seen=self._fit(self._kept.text)[-SHOWN:],
                )
            left = until - (yield Now())
            left = left if left > 0 else None
        return found

    @procedure
    def read_until(self, words: str | bytes, timeout: float = 10.0) -> Steps[str]:
        """All text up to these words, and them. Raises what `expect` does."""
        return (yield from self.expect.steps(words, timeout)).text

    @content
    def get(self, name: str | None = None) -> Steps[Flow[bytes]]:
        """All that comes, to the end, as bytes: for servers that talk by themselves. Telnet has no names."""
        if name is not None:
            raise _no_names()

        def pieces() -> Steps[None]:
            while text := (yield from self.receive.steps()):
                try:
                    yield Items((text.encode(self.encoding, "surrogateescape"),))
                except UnicodeEncodeError:  # UTF-16 cannot write again what it could not read
                    raise self._no_text() from None

        def stay() -> Steps[None]:
            return
            yield

        return Flow(pieces(), leave=stay, endless=True)
        yield

    def _more(self, seconds: float | None) -> Steps[bool | None]:
        """Waits once. True: something came, if only negotiation; False: it was the end; None: nothing in time."""
        data = yield Receive(seconds)
        if data is None:
            return None
        try:
            text = self._decoder.decode(self._terminal.receive(data), final=not data)
        except UnicodeError:  # encodings that shift between sets of characters cannot keep what is none of theirs
            raise self._no_text() from None
        self._kept.add(text)
        self._told_text(text, end=not data)
        if answers := self._terminal.output():
            yield answers
        return bool(data or text)

    def _no_text(self) -> ProtocolError:
        return ProtocolError(
            "what came is no text in {encoding}; see the option encoding",
            operation="receive",
            peer=self.target,
            encoding=self.encoding,
        )

    def _encoded(self, text: str) -> bytes:
        try:
            return text.encode(self.encoding, "surrogateescape")
        except UnicodeEncodeError:
            raise UsageError(
                "{text!r} cannot be written in {encoding}; see the option encoding",
                text=text[:80],
                encoding=self.encoding,
            ) from None

    # -- the login -----------------------------------------------------------------------------------------------------

    @procedure
    def log_in(
        self,
        user: str | None = None,
        password: str | None = None,
        prompt: Pattern | Sequence[Pattern] = PROMPT,
        timeout: float = 10.0,
    ) -> Steps[str]:
        """Answers the questions "login:" and "Password:", and returns what came up to the prompt that follows.

        user, password: by default those of the URL, netrc(5)... as everywhere. prompt: by default a text that ends with one of
        $ # > %. timeout: seconds for each answer. Raises LoginFailed, after which another try may be made if the server asks
        again; TLSError without TLS, unless the URL ends in ?tls=never; what `expect` does.
        """
        if not self.encrypted and self.policy(login=True) == "required":
            raise self.must_encrypt()
        if password is None and (login := self._credentials(user).find(self.target)) is not None:
            user, password = login.user, login.password
        user = user or self.options.credentials.user or self.target.user
        if user is None or password is None:
            raise UsageError("who logs in? Give user and password, or put them into ~/.netrc", peer=self.target)
        refuse_line_ends(user=user)
        if any(character in password for character in "\r\n\0"):
            raise UsageError("a password cannot hold line ends or NUL")
        self._secret = password
        asked = yield from self.expect.steps([_NAME, _PASSWORD], timeout)
        if asked.index == 0:
            yield from self.send_line.steps(user)
            asked = yield from self.expect.steps(_PASSWORD, timeout)
        yield from self.send_line.steps(password, HIDDEN)
        prompts = [prompt] if isinstance(prompt, str | bytes | re.Pattern) else prompt
        come = yield from self.expect.steps([_NO, *prompts, _NAME], timeout)
        if come.index in (0, len(prompts) + 1):
            words = come.match[0] if come.index == 0 and come.match is not None else come.before
            if come.index:
                self._kept.put_back(come.text[len(come.before) :])  # the question, for another try
            words = self._fit(words.strip())
            raise LoginFailed("the server said: {words}", operation="login", peer=self.target, words=words)
        return come.text

    def _credentials(self, user: str | None) -> Credentials:
        """Where the password of this user comes from; that of another one is none."""
        known = self.options.credentials
        named = known.user or self.target.user
        if user is None or user == named:
            return known
        return replace(known, user=user) if named is None else replace(known, user=user, password=None, token=None)

    # -- what telnet has not -------------------------------------------------------------------------------------------

    @streaming
    def list(self, name: str | None = None) -> Steps[Flow[Entry]]:
        """Telnet cannot: raises Unsupported."""
        raise _no_names()
        yield

    @procedure
    def put(self, name: str | None, data: Data) -> Steps[None]:
        """Telnet cannot: raises Unsupported."""
        raise _no_names()
        yield

    # -- the trace, and errors -----------------------------------------------------------------------------------------

    def _hidden(self, text: str) -> str:
        return text.replace(self._secret, HIDDEN) if self._secret else text

    def _fit(self, text: str) -> str:
        """Text of the server's, fit for an error."""
        return cleaned(self._hidden(text).replace("\r\n", "\n"))

    def _told(self, direction: str, words: str) -> None:
        self._told_all()
        self.trace("*", f"{direction} {words}")

    def _told_text(self, text: str, end: bool) -> None:
        """Lines are shown whole, so that what an echo gives away can be found in them."""
        if self._tracing:
            *ends, begun = text.split("\n")
            for each in ends:
                self._line.append(each)
                self._told_all(empty=True)
            if begun:
                self._line.append(begun)
                self._line_size += len(begun)
            if end or self._line_size > MOST_KEPT:
                self._told_all()

    def _told_all(self, empty: bool = False) -> None:
        line = "".join(self._line)
        self._line.clear()
        self._line_size = 0
        if line or empty:
            self._told_line(line)

    def _told_line(self, line: str) -> None:
        self.trace("<", self._hidden(line).rstrip("\r"))


class _UrgentInLine(BaseSession):
    async def _open(self) -> None:
        await super()._open()
        keep_in_line(self.connection)


class Telnet(TelnetTalk, _UrgentInLine, Session):
    """A blocking Telnet session."""


class AsyncTelnet(TelnetTalk, _UrgentInLine, AsyncSession):
    """An asynchronous Telnet session."""


def _no_names() -> Unsupported:
    return Unsupported(
        "telnet has no files to list, get or put: write and expect() are for scripts, `prise connect telnet://...` for people"
    )
