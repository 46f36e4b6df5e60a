r"""The client's side of telnet: a terminal that says what it is, how large it is, and refuses the rest politely. No I/O.

    terminal.receive(data) -> text        terminal.output() -> answers, to be sent        terminal.send(text) -> bytes to send

It answers and asks for nothing by itself, as is right on ports where no telnet may be spoken. It lets the server echo (RFC 857),
suppress go-ahead (RFC 858) and send binary (RFC 856), and it tells its kind (RFC 1091), its size (RFC 1073) and, of the
environment (RFC 1572), the user's name where the URL has one, and TERM: nothing else leaks.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Final

from prise.errors import ProtocolError, UsageError
from prise.protocols.telnet.negotiation import BINARY, ECHO, LINEMODE, NAWS, NEW_ENVIRON, SGA, TTYPE, Options
from prise.protocols.telnet.wire import DO, DONT, IAC, WILL, WONT, Option, Sub, Wire, doubled, sub

COMMANDS: Final = {
    "EOF": 236,
    "SUSP": 237,
    "ABORT": 238,
    "NOP": 241,
    "BRK": 243,
    "IP": 244,
    "AO": 245,
    "AYT": 246,
    "EC": 247,
    "EL": 248,
    "GA": 249,
}
"""Names of commands (RFC 854, RFC 1184): IP interrupts the process, AYT asks "are you there?", AO drops the output..."""

MOST_WORDS = 100_000
"""Commands and options without a byte of text in between. As a rule a session has a score of them."""

_IS, _SEND = 0, 1
_VAR, _VALUE, _USERVAR = 0, 1, 3
_VERBS = {DO: "DO", DONT: "DONT", WILL: "WILL", WONT: "WONT"}
_NAMES = {
    BINARY: "BINARY",
    ECHO: "ECHO",
    SGA: "SGA",
    TTYPE: "TTYPE",
    NAWS: "NAWS",
    LINEMODE: "LINEMODE",
    NEW_ENVIRON: "NEW-ENVIRON",
}
_KIND = re.compile(r"[A-Za-z0-9][A-Za-z0-9+./_-]{0,39}")
_LINE_END = re.compile(rb"\r\n|\n|\r")


class Terminal:
    """kind: the terminal's name, as in TERM. size: columns and rows. user: who is going to log in, None for nobody.

    told: called with ("<" heard or ">" said, words) for all that is negotiated. Raises UsageError.
    """

    def __init__(
        self,
        kind: str = "xterm",
        size: tuple[int, int] = (80, 24),
        user: str | None = None,
        told: Callable[[str, str], None] | None = None,
    ) -> None:
        if not _KIND.fullmatch(kind):
            raise UsageError("{terminal} is no name of a terminal; example: {example}", terminal=kind, example="xterm")
        self.kind = kind
        self.size = _checked(*size)
        self._user = user
        self._told = told
        self._wire = Wire()
        self._ours = Options((BINARY, SGA, TTYPE, NAWS, NEW_ENVIRON))
        self._theirs = Options((BINARY, ECHO, SGA))
        self._answers = bytearray()
        self._count = 0

    @property
    def echoes(self) -> bool:
        """The server shows what is typed (or hides it, at a password): the terminal should not."""
        return ECHO in self._theirs

    @property
    def by_character(self) -> bool:
        """The server wants each key as it is typed, and edits lines itself."""
        return self.echoes and SGA in self._theirs

    @property
    def binary(self) -> bool:
        """We send binary."""
        return BINARY in self._ours

    # -- both directions -----------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> bytes:
        """The text in what has come. Raises ProtocolError where telnet's own part of it does not end."""
        text = bytearray()
        for event in self._wire.feed(data):
            self._count += 1
            if isinstance(event, bytes):
                text += event
                self._count = 0
            elif isinstance(event, Option):
                self._negotiate(event.verb, event.option)
            elif isinstance(event, Sub):
                self._tell("<", f"SB {_name(event.option)}")
                self._describe(event.option, event.data)
            if self._count > MOST_WORDS:
                raise ProtocolError(
                    "the telnet negotiation does not end: {limit} commands and options, and no text", limit=MOST_WORDS
                )
        return bytes(text)

    def output(self) -> bytes:
        """What is to be sent in answer."""
        answers = bytes(self._answers)
        self._answers.clear()
        return answers

    def send(self, text: bytes) -> bytes:
        r"""Text, as it is sent: \n and \r\n become CR LF, a lone \r CR NUL (RFC 1123 §3.3.1); in binary each is a CR, which is
        what the key gives."""
        if self.binary:
            return doubled(_LINE_END.sub(b"\r", text))
        return doubled(_LINE_END.sub(lambda end: b"\r\0" if end[0] == b"\r" else b"\r\n", text))

    def command(self, name: str) -> bytes:
        """A command, as it is sent. name: one of COMMANDS. Raises UsageError."""
        code = COMMANDS.get(name.upper())
        if code is None:
            raise UsageError("{name} is no command of telnet; there is {known}", name=name, known=", ".join(COMMANDS))
        self._tell(">", name.upper())
        return bytes((IAC, code))

    def resize(self, columns: int, rows: int) -> bytes:
        """Takes another size; what is to be sent about it, nothing where the server did not ask."""
        self.size = _checked(columns, rows)
        return self._size() if NAWS in self._ours else b""

    def ask_binary(self) -> bytes:
        """What is to be sent to have bytes as they are in both directions, if the server agrees."""
        self._say(self._ours.wish(BINARY, True), WILL, WONT, BINARY)
        self._say(self._theirs.wish(BINARY, True), DO, DONT, BINARY)
        return self.output()

    # -- what is negotiated --------------------------------------------------------------------------------------------

    def _negotiate(self, verb: int, option: int) -> None:
        self._tell("<", f"{_VERBS[verb]} {_name(option)}")
        if verb in (WILL, WONT):
            self._say(self._theirs.heard(option, verb == WILL), DO, DONT, option)
            self._wire.binary = BINARY in self._theirs
            return
        was_on = NAWS in self._ours
        self._say(self._ours.heard(option, verb == DO), WILL, WONT, option)
        if NAWS in self._ours and not was_on:
            self._answers += self._size()

    def _say(self, answer: bool | None, yes: int, no: int, option: int) -> None:
        if answer is not None:
            verb = yes if answer else no
            self._tell(">", f"{_VERBS[verb]} {_name(option)}")
            self._answers += bytes((IAC, verb, option))

    def _describe(self, option: int, data: bytes) -> None:
        """Answers what the server asks about an option that is on."""
        if data[:1] != bytes((_SEND,)) or option not in self._ours:
            return
        if option == TTYPE:
            self._answers += sub(TTYPE, bytes((_IS,)) + self.kind.upper().encode())
        elif option == NEW_ENVIRON:
            self._answers += sub(NEW_ENVIRON, bytes((_IS,)) + self._environment(data[1:]))

    def _environment(self, asked: bytes) -> bytes:
        """asked: names, each behind VAR or USERVAR; none means all."""
        names = re.findall(rb"[\0\3]([^\0\3]*)", asked)
        found = b""
        known = (_VAR, b"USER", (self._user or "").encode(errors="replace")), (_USERVAR, b"TERM", self.kind.encode())
        for kind, name, value in known:
            if value and (name in names or b"" in names or not names):
                # What has a meaning of its own stands behind ESC (RFC 1572 §2).
                found += bytes((kind,)) + name + bytes((_VALUE,)) + re.sub(b"[\0-\3]", b"\2\\g<0>", value)
        return found

    def _size(self) -> bytes:
        return sub(NAWS, struct.pack("!HH", *self.size))

    def _tell(self, direction: str, words: str) -> None:
        if self._told is not None:
            self._told(direction, words)


def _name(option: int) -> str:
    return _NAMES.get(option, str(option))


def _checked(columns: int, rows: int) -> tuple[int, int]:
    if not (0 <= columns < 65536 and 0 <= rows < 65536):
        raise UsageError(
            "a terminal has from 0 to 65535 columns and rows, not {columns} and {rows}", columns=columns, rows=rows
        )
    return columns, rows
