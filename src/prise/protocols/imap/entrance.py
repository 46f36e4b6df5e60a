"""From the greeting to the first command of the user: STARTTLS, the login, what the server can do and is told to."""

from __future__ import annotations

from prise.errors import LoginFailed, ProtocolError, Refused
from prise.protocols.credentials import Login
from prise.protocols.imap.commands import Commands
from prise.protocols.imap.names import string
from prise.protocols.imap.parser import Continue, Status
from prise.protocols.sasl import Answers, choose
from prise.protocols.steps import Steps
from prise.protocols.talk import HIDDEN, cleaned

WANTED = ("UTF8=ACCEPT", "IMAP4REV2")
"""What is switched on where it is offered. After it, names of mailboxes and searches are in UTF-8."""


class Entrance(Commands):
    logs_in = True
    options_known = ("mechanism",)

    def hello(self) -> Steps[None]:
        greeting = yield from self._response()
        if not isinstance(greeting, Status) or greeting.tag != "*" or greeting.kind not in ("OK", "PREAUTH", "BYE"):
            raise ProtocolError("the greeting is none of IMAP")
        if greeting.kind == "BYE":
            raise Refused(operation="the greeting", peer=self.target, code="BYE", words=cleaned(greeting.words))
        self._note(greeting)
        if not self.capabilities:
            yield from self._ask("CAPABILITY")
        yield from self._encrypt(already_in=greeting.kind == "PREAUTH")
        if greeting.kind == "OK":
            login = self.login()
            assert login is not None  # a protocol that logs in has one, or has raised
            yield from self._log_in(login)
        wanted = [name for name in WANTED if self._has(name)]
        if wanted and self._has("ENABLE", "IMAP4REV2"):
            try:
                yield from self._ask("ENABLE", *wanted)
            except Refused:
                pass  # then all stays as it was before

    def bye(self) -> Steps[None]:
        self._leaving = True
        yield from self._ask("LOGOUT")

    def _encrypt(self, already_in: bool) -> Steps[None]:
        policy = self.policy(login=True)
        if self.encrypted or policy == "never":
            return
        # Who is let in before TLS cannot ask for it any more: whoever is in the middle may have said PREAUTH (CVE-2020-15685).
        if self._has("STARTTLS") and not already_in:
            yield from self._ask("STARTTLS")
            yield from self.start_tls()
            self.capabilities = self.enabled = frozenset()  # what was said in clear may have been anybody's
            self.alerts.clear()
            yield from self._ask("CAPABILITY")
        elif policy == "required":
            raise self.must_encrypt()

    def _log_in(self, login: Login) -> Steps[None]:
        wanted = self.options.more.get("mechanism") or self.target.mechanism
        offered = [name.removeprefix("AUTH=") for name in self.capabilities if name.startswith("AUTH=")]
        mechanism = choose(offered, login, self.encrypted, wanted)
        before = self.capabilities
        self.capabilities = frozenset()  # they are others afterwards
        try:
            if mechanism is not None:
                self.capabilities = before & {"SASL-IR"}
                yield from self._authenticate(mechanism.name, Answers(mechanism, login, self.target.host))
            elif wanted or login.token:
                raise LoginFailed(
                    "the server does not offer this way of logging in: {wanted}", wanted=wanted or "OAuth 2.0"
                )
            elif "LOGINDISABLED" in before:
                raise LoginFailed(
                    "the server takes no login on this connection (LOGINDISABLED)", operation="LOGIN", peer=self.target
                )
            else:
                self.capabilities = before & {"LITERAL+", "LITERAL-"}
                user, password = string(login.user), string(login.password)
                yield from self._ask("LOGIN", user, password, shown=f"LOGIN {login.user} {HIDDEN}")
        except LoginFailed:
            raise
        except Refused as error:
            raise LoginFailed(operation="login", peer=self.target, code=error.code, words=error.words) from None
        if self.capabilities <= before & {"SASL-IR", "LITERAL+", "LITERAL-"}:
            yield from self._ask("CAPABILITY")

    def _authenticate(self, name: str, answers: Answers) -> Steps[None]:
        initial = answers.initial() if self._has("SASL-IR") else None
        words, shown = (("AUTHENTICATE", name, initial), HIDDEN) if initial else (("AUTHENTICATE", name), "")
        yield from self._start(*words, shown=f"AUTHENTICATE {name} {shown}".rstrip())
        while True:
            response = yield from self._response()
            if isinstance(response, Continue):
                yield from self.say(answers.to(response.words), HIDDEN)
            elif isinstance(status := self._sorted(response, ()), Status):
                self._answered(status)
                return
