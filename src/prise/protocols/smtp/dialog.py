"""The talk with an SMTP server up to the first message: greeting, EHLO, STARTTLS (RFC 3207), AUTH (RFC 4954); and one command,
one answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import ip_address
from typing import NoReturn

from prise.errors import ConnectionLost, LoginFailed, NotFound, ProtocolError, Refused, UsageError
from prise.protocols.credentials import Login
from prise.protocols.reply import Reply, read_reply
from prise.protocols.sasl import Answers, choose
from prise.protocols.steps import Steps
from prise.protocols.talk import HIDDEN, Talk, cleaned

CLOSING = 421
"""The code with which a server says, at any time, that it hangs up."""


LONGEST_COMMAND = 512
"""Bytes (RFC 5321 §4.5.3.1.4). A longer token waits until it is asked for (RFC 4954 §4)."""


class Dialog(Talk):
    """greeting: the server's first words. extensions: what it can do beyond RFC 821, keyword -> parameters, as EHLO said; empty
    where it knows no EHLO."""

    options_known = ("mechanism", "name", "chunking")

    greeting = ""
    extensions: dict[str, list[str]]

    # -- coming and going ----------------------------------------------------------------------------------------------

    def hello(self) -> Steps[None]:
        self.extensions = {}
        reply = yield from read_reply(self)
        if reply.kind != 2:
            raise self._refusal(reply, "the greeting")
        self.greeting = cleaned(reply.text)
        yield from self._ehlo()
        login = self.login(needed=False)
        logs_in = login is not None or self._user_named
        policy = self.policy(login=logs_in)
        if not self.encrypted and policy != "never":
            if "STARTTLS" in self.extensions:
                yield from self._command("STARTTLS")
                yield from self.start_tls()
                yield from self._ehlo()  # what was said in clear may have been anybody's
            elif policy == "required":
                raise self.must_encrypt()
        if logs_in:
            yield from self._log_in(login)

    def bye(self) -> Steps[None]:
        yield from self._command("QUIT")

    @property
    def _user_named(self) -> bool:
        """Whether a login was asked for outright. One in netrc(5) is used if the server wants any."""
        return (self.options.credentials.user or self.target.user) is not None

    def _ehlo(self) -> Steps[None]:
        name = self.options.more.get("name") or self._literal()
        yield from self.say(f"EHLO {name}")
        reply = yield from self._answer("EHLO")
        if reply.kind == 2:
            self.extensions = extensions_of(reply.lines[1:])
        elif reply.kind == 5:  # a server from before 1995
            yield from self._command(f"HELO {name}")
            self.extensions = {}
        else:
            raise self._refusal(reply, "EHLO")

    def _literal(self) -> str:
        """Who we are, as an address (RFC 5321 §4.1.3): to find out a name of ours may take DNS many seconds."""
        try:
            host = ip_address(str(self.local.host if self.local else "").partition("%")[0])
        except ValueError:
            return "localhost"  # a Unix socket, a program
        return f"[{'IPv6:' if host.version == 6 else ''}{host}]"

    # -- logging in ----------------------------------------------------------------------------------------------------

    def _log_in(self, login: Login | None) -> Steps[None]:
        if "AUTH" not in self.extensions and not self._user_named:
            return
        login = login or self.login()
        if login is None:
            raise UsageError(
                "the password is not known: write it into ~/.netrc or the keyring, or give it outright",
                peer=self.target,
            )
        wanted = self.options.more.get("mechanism")
        mechanism = choose(self.extensions.get("AUTH", []), login, self.encrypted, wanted)
        if mechanism is None:
            raise LoginFailed(
                "the server does not offer this way of logging in: {wanted}",
                operation="login",
                peer=self.target,
                wanted=wanted or ("OAuth 2.0" if login.token else "AUTH"),
            )
        yield from self._authenticate(mechanism.name, Answers(mechanism, login, self.target.host))

    def _authenticate(self, name: str, answers: Answers) -> Steps[None]:
        initial = answers.initial(LONGEST_COMMAND - len(f"AUTH {name} \r\n"))
        yield from self.say(
            f"AUTH {name}{f' {initial}' if initial else ''}", f"AUTH {name}{f' {HIDDEN}' if initial else ''}"
        )
        while (reply := (yield from self._answer("AUTH"))).code == 334:
            yield from self.say(answers.to(reply.text), HIDDEN)
        if reply.kind == 3:
            self._not_known(reply, "AUTH")
        if reply.kind != 2:
            raise reply.refusal(LoginFailed, self, "login")

    # -- one command, one answer ---------------------------------------------------------------------------------------

    def _command(self, line: str, missing: Collection[int] = ()) -> Steps[Reply]:
        """Raises Refused for what is no success; NotFound for codes that say that something is missing."""
        yield from self.say(line)
        operation = line.partition(" ")[0]
        reply = yield from self._answer(operation)
        if reply.kind != 2:
            raise self._refusal(reply, operation, NotFound if reply.code in missing else Refused)
        return reply

    def _say_all(self, lines: Iterable[str]) -> Steps[None]:
        """Several commands in one write (RFC 2920)."""
        steps = [step for line in lines for step in self.say(line)]
        yield b"".join(step for step in steps if isinstance(step, bytes))

    def _answer(self, operation: str) -> Steps[Reply]:
        """Raises ConnectionLost where the server says that it hangs up."""
        reply = yield from read_reply(self)
        if reply.code == CLOSING:
            raise ConnectionLost(
                "the server ends the session: {words}", operation=operation, peer=self.target, words=cleaned(reply.text)
            )
        return reply

    def _refusal(self, reply: Reply, operation: str, kind: type[Refused] = Refused) -> Refused:
        if reply.kind < 4:
            self._not_known(reply, operation)
        return reply.refusal(kind, self, operation)

    def _not_known(self, reply: Reply, operation: str) -> NoReturn:
        raise ProtocolError(
            "the answer is not one to this command: {code} {words}",
            operation=operation,
            peer=self.target,
            code=reply.code,
            words=cleaned(reply.text)[:80],
        )


def extensions_of(lines: Iterable[str]) -> dict[str, list[str]]:
    """What the lines of an answer to EHLO offer, in upper case. Some servers write `AUTH=LOGIN`, as a draft once had it."""
    found: dict[str, list[str]] = {}
    for line in lines:
        keyword, *parameters = line.upper().replace("AUTH=", "AUTH ", 1).split() or [""]
        found.setdefault(keyword, []).extend(parameters)
    found.pop("", None)
    return found
