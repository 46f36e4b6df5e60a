"""What every conversation with a news server is made of: coming and going, TLS, the login, commands and their answers.

On the way in: the greeting; CAPABILITIES, which old servers do not know; MODE READER where the server is one for other servers
first of all; STARTTLS; AUTHINFO; COMPRESS where it is wanted. A server may also ask for a login later (480).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from prise.errors import LoginFailed, MessageTooLarge, NotFound, PriseError, ProtocolError, Refused
from prise.protocols.credentials import Login
from prise.protocols.nntp.compression import Deflate, InflatingReader
from prise.protocols.nntp.posting import dotted
from prise.protocols.reply import Reply, read_reply
from prise.protocols.sasl import Answers, choose
from prise.protocols.steps import Items, Steps
from prise.protocols.talk import HIDDEN, Talk, cleaned

T = TypeVar("T")

MOST_CAPABILITIES = 1000  # lines
LONGEST_COMMAND = 510  # bytes, without its end (RFC 3977 §3.1)

MOST_HELD = 16 * 1024 * 1024
"""Bytes of an answer that is given as a whole."""

MISSING = {411, 420, 421, 422, 423, 430}
"""There is no such group; no current, next or previous article; no article with this number; none with this message-id."""


class NewsTalk(Talk):
    """capabilities: what CAPABILITIES said last, by name, with its arguments; empty where the server does not know the command.
    greeting: its first words.
    """

    options_known = ("compress", "mechanism", "reader")

    capabilities: dict[str, list[str]]
    greeting = ""
    compressed = False
    _allows_posting = False  # by its greeting
    _logged_in = False
    _reserved = False  # it wants a login before it says what it can, or becomes one for readers
    _deflate: Deflate | None = None

    @property
    def posting(self) -> bool:
        """Whether it takes articles from us, as far as it says."""
        return "POST" in self.capabilities if self.capabilities else self._allows_posting

    # -- coming and going ----------------------------------------------------------------------------------------------

    def hello(self) -> Steps[None]:
        yield from self._greet()
        yield from self._introduce()
        login = self.login(needed=False)
        policy = self.policy(login=login is not None)
        if not self.encrypted and policy != "never":
            if "STARTTLS" in self.capabilities:
                yield from self.command("STARTTLS", 382)
                yield from self.start_tls()
                yield from self._introduce()  # what was said in clear may have been anybody's
            elif policy == "required":
                raise self.must_encrypt()
        if login is not None:
            yield from self.log_in(login)
        if self.options.more.get("compress") and "DEFLATE" in self.capabilities.get("COMPRESS", ()):
            yield from self._compress()

    def bye(self) -> Steps[None]:
        yield from self.command("QUIT", 205)

    def _greet(self) -> Steps[None]:
        reply = self.expect((yield from read_reply(self, several=False)), "the greeting", 200, 201)
        self.greeting, self._allows_posting = reply.text, reply.code == 200

    def _introduce(self) -> Steps[None]:
        """What the server can, once it is one for readers."""
        yield from self._ask_capabilities()
        if self.options.more.get("reader", True) and "READER" not in self.capabilities:
            yield from self._become_reader()

    def _ask_capabilities(self) -> Steps[None]:
        yield from self.say("CAPABILITIES")
        self.capabilities = {}
        code = (yield from read_reply(self, several=False)).code
        self._reserved = code == 480
        if code == 101:
            for line in (yield from self.held_lines(MOST_CAPABILITIES)):
                name, *arguments = line.upper().split() or [""]
                self.capabilities[name] = arguments

    def _become_reader(self) -> Steps[None]:
        yield from self.say("MODE READER")
        reply = yield from read_reply(self, several=False)
        if reply.code in (400, 502):
            raise reply.refusal(Refused, self, "MODE READER")
        self._reserved = self._reserved or reply.code == 480
        if reply.code in (200, 201):
            self._allows_posting = reply.code == 200
            if self.capabilities:
                yield from self._ask_capabilities()

    def _compress(self) -> Steps[None]:
        try:
            yield from self.command("COMPRESS DEFLATE", 206)
        except Refused:
            return  # it offers that, and is not able to (403)
        if self.reader.pending:
            raise ProtocolError(
                "the server sent {count} bytes more behind its agreement to compress",
                operation="COMPRESS",
                count=self.reader.pending,
            )
        self._deflate, self.reader, self.compressed = Deflate(), InflatingReader(), True

    # -- the login (RFC 4643) ------------------------------------------------------------------------------------------

    def log_in(self, login: Login) -> Steps[None]:
        """Raises LoginFailed; TLSError where the password would be sent in clear."""
        if not self.encrypted and self.policy(login=True) == "required":
            raise self.must_encrypt()
        wanted = self.options.more.get("mechanism")
        ways = self.capabilities.get("AUTHINFO", [])
        mechanism = choose(self.capabilities.get("SASL", ()), login, self.encrypted, wanted)
        # USER first: servers list what their SASL library could do, and have their passwords where USER alone finds them (INN).
        if mechanism is not None and (wanted or login.token or "USER" not in ways):
            reply = yield from self._authenticate(mechanism.name, Answers(mechanism, login, self.target.host))
        elif wanted or login.token:
            raise LoginFailed(
                "the server does not offer this way of logging in: {wanted}",
                operation="login",
                peer=self.target,
                wanted=wanted or "OAuth 2.0",
            )
        else:
            yield from self.say(f"AUTHINFO USER {login.user}")
            reply = yield from read_reply(self, several=False)
            if reply.code == 381:
                yield from self.say(f"AUTHINFO PASS {login.password}", f"AUTHINFO PASS {HIDDEN}")
                reply = yield from read_reply(self, several=False)
        if reply.code not in (281, 283):
            raise self.refused(reply, "login", LoginFailed)
        self._logged_in = True
        if self._reserved:
            yield from self._introduce()
        elif self.capabilities:
            yield from self._ask_capabilities()  # they may be others for those who are known

    def _authenticate(self, name: str, answers: Answers) -> Steps[Reply]:
        command = f"AUTHINFO SASL {name}"
        initial = answers.initial(LONGEST_COMMAND - len(command) - 1)
        yield from self.say(
            f"{command}{f' {initial}' if initial else ''}", f"{command}{f' {HIDDEN}' if initial else ''}"
        )
        while (reply := (yield from read_reply(self, several=False))).code == 383:
            # Nothing at all is written "=" in both directions (RFC 4643 §2.4).
            yield from self.say(answers.to("" if reply.text == "=" else reply.text) or "=", HIDDEN)
        return reply

    # -- commands and answers ------------------------------------------------------------------------------------------

    def say(self, line: str | bytes, shown: str | None = None) -> Steps[None]:
        yield from self.send(self.said(line, shown))

    def said(self, line: str | bytes, shown: str | None = None) -> bytes:
        """The bytes of a command, which `say` would send: checked, and traced."""
        (data,) = super().say(line, shown)
        assert isinstance(data, bytes)
        return data

    def send(self, data: bytes) -> Steps[None]:
        """Bytes as they are, deflated where that was agreed."""
        yield data if self._deflate is None else self._deflate(data)

    def command(self, line: str, *good: int) -> Steps[Reply]:
        """Sends a command; the server may ask for a login first (480). good: the answers that mean yes; any other is raised."""
        yield from self.say(line)
        reply = yield from read_reply(self, several=False)
        if reply.code == 480 and (yield from self.late_login()):
            yield from self.say(line)
            reply = yield from read_reply(self, several=False)
        return self.expect(reply, line.partition(" ")[0], *good)

    def late_login(self) -> Steps[bool]:
        """The server wants to know who asks. False: nothing new can be told."""
        login = None if self._logged_in else self.login(needed=True)
        if login is not None:
            yield from self.log_in(login)
        return login is not None

    def expect(self, reply: Reply, operation: str, *good: int) -> Reply:
        if reply.code not in good:
            raise self.refused(reply, operation)
        return reply

    def refused(self, reply: Reply, operation: str, kind: type[Refused] | None = None) -> PriseError:
        """The error that an answer is."""
        if reply.code == 480 and not self._logged_in:
            return self.login_wanted("480", cleaned(reply.text))
        if reply.kind in (4, 5):
            if kind is None:
                kind = LoginFailed if reply.code in (480, 481) else NotFound if reply.code in MISSING else Refused
            return reply.refusal(kind, self, operation)
        return ProtocolError(
            "the answer {code} does not belong to this command", operation=operation, peer=self.target, code=reply.code
        )

    def hand_over(self, article: bytes, operation: str, good: int) -> Steps[str]:
        """Sends an article that the server has asked for; returns its words about it."""
        yield from self.send(dotted(article))
        return self.expect((yield from read_reply(self, several=False)), operation, good).text

    def held_lines(self, most: int) -> Steps[list[str]]:
        """The lines of an answer that is short. Raises ProtocolError for more than `most`, MessageTooLarge for 16 MiB."""
        found: list[str] = []
        size = 0
        while (lines := (yield from self.reader.dotted_lines())) is not None:
            found += [line.decode(errors="surrogateescape") for line in lines]
            size += sum(map(len, lines))
            if len(found) > most:
                raise ProtocolError("the list has more than {limit} lines", peer=self.target, limit=most)
            if size > MOST_HELD:
                raise MessageTooLarge("the answer has more than {limit} bytes", operation="receive", limit=MOST_HELD)
        return found

    def told_lines(self, read: Callable[[Iterable[bytes]], Sequence[T]]) -> Steps[None]:
        """The lines of an answer that may be long: as items, as they come."""
        while (lines := (yield from self.reader.dotted_lines())) is not None:
            yield Items(read(lines))
