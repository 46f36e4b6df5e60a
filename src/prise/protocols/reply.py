"""Answers that begin with three digits: SMTP (RFC 5321 §4.2), FTP (RFC 959 §4.2), of several lines; NNTP (RFC 3977 §3.2)."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeVar

from prise.errors import MessageTooLarge, ProtocolError, Refused
from prise.protocols.steps import Steps
from prise.protocols.talk import Talk, cleaned

MOST_LINES = 1000
"""Lines of one answer. A greeting without an end would hold the client for ever."""

LONGEST = 256 * 1024
"""Characters of one answer."""

_STATUS = re.compile(r"([1-5][0-9][0-9])(?![^ -])([ -]?)(.*)", re.DOTALL)

R = TypeVar("R", bound=Refused)


class Reply(NamedTuple):
    """code: the three digits. lines: the text behind them, at least one line; of the lines of an FTP answer that have no
    code, all of it."""

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The words, all lines."""
        return "\n".join(self.lines)

    @property
    def kind(self) -> int:
        """The first digit: 2 done, 3 go on, 4 not now, 5 not at all; 1 it has begun."""
        return self.code // 100

    def refusal(self, kind: type[R], talk: Talk, operation: str) -> R:
        """The error that this answer is. kind: Refused or one of those under it."""
        return kind(operation=operation, peer=talk.target, code=str(self.code), words=cleaned(self.text))


def read_reply(talk: Talk, several: bool = True) -> Steps[Reply]:
    """The next answer. several: lines with a dash behind the code go on (not in NNTP). Raises ProtocolError."""
    line = yield from talk.hear()
    match = _STATUS.fullmatch(line)
    if match is None:
        raise ProtocolError(
            "the answer does not begin with three digits: {line!r}", peer=talk.target, line=cleaned(line[:80])
        )
    code, dash, text = match.groups()
    lines = [text]
    size = 0
    while several and dash == "-":
        line = yield from talk.hear()
        begins = line.startswith(code)
        lines.append(line[4:] if begins and line[3:4] in ("-", " ", "") else line)
        if begins and line[3:4] in (" ", ""):
            break
        size += len(line)
        if len(lines) >= MOST_LINES:
            raise ProtocolError("the answer has more than {limit} lines", peer=talk.target, limit=MOST_LINES)
        if size > LONGEST:
            raise MessageTooLarge("the answer has more than {limit} bytes", peer=talk.target, limit=LONGEST)
    return Reply(int(code), tuple(lines))
