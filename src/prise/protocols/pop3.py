"""POP3 (RFC 1939; CAPA RFC 2449, STLS RFC 2595, AUTH RFC 5034): a mailbox that is emptied, or only read, from the front.

    with prise.open("pop3s://ada@mail.example.org/") as box:
        for message in box.list():
            print(message.name, message.size, message.facts["uid"])
        box.get("3").save("3.eml")

A message's number holds for one session; its uid holds for good. Nothing is deleted but by `delete`, and only when the session
ends without an error: after one, the server is told to forget it (RSET).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from hashlib import md5
from typing import NamedTuple

from prise.errors import LoginFailed, MessageTooLarge, NotFound, ProtocolError, Refused, Unsupported, UsageError
from prise.protocols.credentials import Login
from prise.protocols.entry import Entry
from prise.protocols.sasl import Answers, choose
from prise.protocols.session import AsyncSession, Session, content, procedure, streaming
from prise.protocols.source import Data
from prise.protocols.steps import Flow, Items, Steps
from prise.protocols.talk import HIDDEN, Talk, cleaned
from prise.protocols.target import decoded

MOST_MESSAGES = 1_000_000
"""Entries of one mailbox's lists."""

LONGEST_LIST = 64 * 1024 * 1024
"""Bytes of such a list."""

LONGEST_COMMAND = 253
"""Octets of a command without its end (RFC 2449 §4); what a login has more is said when the server asks for it."""

_NOT_NOW = re.compile(
    r"\[(IN-USE|LOGIN-DELAY|SYS)\b", re.IGNORECASE
)  # RFC 2449 §8.1, RFC 3206: not the password's fault
_APOP = re.compile(r"<[^<>\s]+@[^<>\s]+>")


class Stat(NamedTuple):
    """messages: how many; size: bytes of all."""

    messages: int
    size: int


class POP3Talk(Talk):
    """capabilities: what CAPA said, by name, with its arguments; empty where the server knows no CAPA. user: who logged in."""

    logs_in = True
    options_known = ("mechanism",)

    capabilities: dict[str, list[str]]
    greeting = ""
    user = ""

    # -- coming and going ----------------------------------------------------------------------------------------------

    def hello(self) -> Steps[None]:
        self.greeting = yield from self._answer("the greeting")
        self.capabilities = yield from self._capa()
        policy = self.policy(login=True)
        if not self.encrypted and policy != "never":
            if "STLS" in self.capabilities:
                yield from self._command("STLS")
                yield from self.start_tls()
                self.capabilities = yield from self._capa()  # what was said in clear may have been anybody's
            elif policy == "required":
                raise self.must_encrypt()
        login = self.login()
        assert login is not None  # a protocol that logs in has one, or has raised
        yield from self._log_in(login)
        self.user = login.user

    def bye(self) -> Steps[None]:
        if self.failed:
            yield from self._command("RSET")
        yield from self._command("QUIT")

    def _log_in(self, login: Login) -> Steps[None]:
        wanted = self.options.more.get("mechanism") or self.target.mechanism
        challenge = _APOP.search(self.greeting)
        apop = wanted is not None and wanted.upper().removeprefix("+") == "APOP"  # RFC 2384 §3 writes +APOP
        offered = self.capabilities.get("SASL", [])
        mechanism = None if apop else choose(offered, login, self.encrypted, wanted)
        try:
            tells = not self.encrypted and challenge is not None and not login.token  # where APOP would not
            if mechanism is not None and (wanted or not (tells and mechanism.tells)):
                yield from self._authenticate(mechanism.name, Answers(mechanism, login, self.target.host))
            elif (wanted and not (apop and challenge)) or login.token:
                raise LoginFailed(
                    "the server does not offer this way of logging in: {wanted}", wanted=wanted or "OAuth 2.0"
                )
            elif challenge is not None and (apop or not self.encrypted):
                # MD5 is weak (RFC 6151), so through TLS the password itself is the better way.
                digest = md5((challenge.group() + login.password).encode(errors="surrogateescape")).hexdigest()
                yield from self._command(f"APOP {login.user} {digest}", f"APOP {login.user} {HIDDEN}")
            else:
                yield from self._command(f"USER {login.user}")
                yield from self._command(f"PASS {login.password}", f"PASS {HIDDEN}")
        except LoginFailed:
            raise
        except Refused as error:
            if _NOT_NOW.match(error.words):
                raise
            raise LoginFailed(operation="login", peer=self.target, code=error.code, words=error.words) from None

    def _authenticate(self, name: str, answers: Answers) -> Steps[None]:
        initial = answers.initial(room=LONGEST_COMMAND - len(f"AUTH {name} "))
        yield from self.say(
            f"AUTH {name}{f' {initial}' if initial else ''}", f"AUTH {name}{f' {HIDDEN}' if initial else ''}"
        )
        while (line := (yield from self.hear())).startswith("+") and not line.startswith("+OK"):
            yield from self.say(answers.to(line[2:]), HIDDEN)
        self._ok(line, "AUTH")

    def _capa(self) -> Steps[dict[str, list[str]]]:
        try:
            yield from self._command("CAPA")
        except Refused:
            return {}
        lines = yield from self._lines(1000)
        words = [line.split() for line in lines if line]
        return {word[0].upper(): word[1:] for word in words if word}

    # -- one command, one answer ---------------------------------------------------------------------------------------

    def _command(self, line: str, shown: str | None = None) -> Steps[str]:
        yield from self.say(line, shown)
        return (yield from self._answer(line.partition(" ")[0]))

    def _answer(self, operation: str) -> Steps[str]:
        return self._ok((yield from self.hear()), operation)

    def _ok(self, line: str, operation: str, kind: type[Refused] = Refused) -> str:
        """What comes behind +OK."""
        status, _, words = line.partition(" ")
        if status == "+OK":
            return words
        if status != "-ERR":
            raise ProtocolError(
                "the answer is neither +OK nor -ERR: {line!r}",
                operation=operation,
                peer=self.target,
                line=cleaned(line[:80]),
            )
        raise kind(operation=operation, peer=self.target, code=status, words=cleaned(words))

    def _lines(self, most: int = MOST_MESSAGES) -> Steps[list[str]]:
        found: list[str] = []
        size = 0
        while (lines := (yield from self.reader.dotted_lines())) is not None:
            found += [line.decode(errors="surrogateescape") for line in lines]
            size += sum(map(len, lines))
            if len(found) > most:
                raise ProtocolError("the list has more than {limit} lines", limit=most)
            if size > LONGEST_LIST:
                raise MessageTooLarge("the list has more than {limit} bytes", limit=LONGEST_LIST)
        return found

    def _numbered(self, command: str) -> Steps[dict[int, str]]:
        yield from self._command(command)
        lines = yield from self._lines()
        try:
            return {int(number): rest for number, _, rest in (line.partition(" ") for line in lines)}
        except ValueError:
            raise ProtocolError("a line of the list has no number", operation=command) from None

    # -- what is there -------------------------------------------------------------------------------------------------

    @procedure
    def stat(self) -> Steps[Stat]:
        """How many messages there are, and of how many bytes."""
        words = (yield from self._command("STAT")).split()
        try:
            return Stat(int(words[0]), int(words[1]))
        except (IndexError, ValueError):
            raise ProtocolError("the answer has no two numbers", operation="STAT") from None

    @procedure
    def sizes(self) -> Steps[dict[int, int]]:
        """number -> bytes."""
        found = yield from self._numbered("LIST")
        try:
            return {number: int(size.split()[0]) for number, size in found.items()}
        except (IndexError, ValueError):
            raise ProtocolError("a line of the list has no size", operation="LIST") from None

    @procedure
    def uids(self) -> Steps[dict[int, str]]:
        """number -> uid, which stays the same as long as the message is there. Raises Refused where the server has none."""
        return (yield from self._numbered("UIDL"))

    @streaming
    def list(self, name: str | None = None) -> Steps[Flow[Entry]]:
        """The messages: name is the number, size in bytes, facts["uid"]."""
        sizes = yield from self.sizes.steps()
        try:
            uids = yield from self.uids.steps()
        except Refused:
            uids = {}  # UIDL is optional
        entries = [
            Entry(str(number), "message", size=size, facts={"uid": uids[number]} if number in uids else {})
            for number, size in sizes.items()
        ]

        def told() -> Steps[None]:
            yield Items(entries)

        return Flow(told(), len(entries))

    @procedure
    def new(self, seen: Collection[str]) -> Steps[dict[int, str]]:
        """number -> uid of the messages whose uid is not among those seen (see `prise.protocols.seen`)."""
        uids = yield from self.uids.steps()
        known = frozenset(seen)
        return {number: uid for number, uid in uids.items() if uid not in known}

    # -- one message ---------------------------------------------------------------------------------------------------

    @content
    def get(self, name: str | int | None = None) -> Steps[Flow[bytes]]:
        """A message, whole, as it was mailed (RFC 5322, lines end in CR LF). It stays in the mailbox.

        name: its number, or its uid ("uid:" before it where it looks like a number); None: the one that the URL names. size: as
        the server counts; some count otherwise.
        """
        number = yield from self._number_of(name)
        size = yield from self._size_of(number)
        yield from self._fetch(f"RETR {number}")
        return Flow(self.reader.dotted_items(), size, f"{number}.eml", "message/rfc822")

    @content
    def top(self, name: str | int, lines: int = 0) -> Steps[Flow[bytes]]:
        """A message's header, and so many lines of its body."""
        number = yield from self._number_of(name)
        yield from self._fetch(f"TOP {number} {int(lines)}")
        return Flow(self.reader.dotted_items(), None, f"{number}.eml", "message/rfc822")

    @procedure
    def delete(self, name: str | int) -> Steps[None]:
        """Has a message deleted when the session ends, see above."""
        number = yield from self._number_of(name)
        yield from self._fetch(f"DELE {number}")

    @procedure
    def reset(self) -> Steps[None]:
        """Nothing will be deleted after all."""
        yield from self._command("RSET")

    @procedure
    def noop(self) -> Steps[None]:
        """Shows the server that we are still here."""
        yield from self._command("NOOP")

    @procedure
    def put(self, name: str | None, data: Data) -> Steps[None]:
        """POP3 cannot: raises Unsupported."""
        raise Unsupported("POP3 only fetches: mail is sent by smtp:, and put into a mailbox by imap:")
        yield

    def _fetch(self, command: str) -> Steps[None]:
        yield from self.say(command)
        self._ok((yield from self.hear()), command, NotFound)

    def _size_of(self, number: int) -> Steps[int | None]:
        yield from self.say(f"LIST {number}")
        words = self._ok((yield from self.hear()), f"RETR {number}", NotFound).split()
        return int(words[1]) if len(words) > 1 and words[1].isdecimal() else None

    def _number_of(self, name: str | int | None) -> Steps[int]:
        text = decoded(self.target.place) if name is None else str(name)
        if not text:
            raise UsageError("which message? example: {example}", example=f"{self.target}1")
        if text.isdecimal() and len(text) < 10:
            return int(text)
        uid = text.removeprefix("uid:")
        for number, known in (yield from self.uids.steps()).items():
            if known == uid:
                return number
        raise NotFound("no message here has the uid {uid}", peer=self.target, uid=uid)


class POP3(POP3Talk, Session):
    """A blocking POP3 session."""


class AsyncPOP3(POP3Talk, AsyncSession):
    """An asynchronous POP3 session."""
