"""Ways of logging in that SMTP, IMAP, POP3 and NNTP share (SASL, RFC 4422), as generators without I/O.

    mechanism = choose(["PLAIN", "CRAM-MD5"], login, encrypted=True)       the best that both sides know
    answers = Answers(mechanism, login, host)                              its half of the exchange, in base64
    answers.initial()                                                      what is said first; None: the server speaks first
    answers.to(challenge)                                                  what is said to that

On which line these stand is each protocol's own business.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator, Iterable
from hashlib import md5
from typing import NamedTuple

from prise.errors import ProtocolError, UsageError
from prise.protocols.credentials import Login

Exchange = Generator["bytes | None", bytes, None]


class Mechanism(NamedTuple):
    """name: as servers list it. exchange: the generator. tells: it shows the password to the server (and, in clear, to all)."""

    name: str
    exchange: Callable[[Login, str], Exchange]
    tells: bool
    token: bool = False


def _octets(text: str) -> bytes:
    """UTF-8; bytes of another encoding, as a descriptor or netrc(5) may give them, stay what they are."""
    return text.encode(errors="surrogateescape")


def _plain(login: Login, host: str) -> Exchange:
    """RFC 4616."""
    yield b"\0" + _octets(login.user) + b"\0" + _octets(login.password)


def _login(login: Login, host: str) -> Exchange:
    """Never a standard, always there: the server asks for the user, then for the password."""
    yield None
    yield _octets(login.user)
    yield _octets(login.password)


def _cram_md5(login: Login, host: str) -> Exchange:
    """RFC 2195. The password itself stays here, but MD5 is weak: only in clear is it better than PLAIN."""
    challenge = yield None
    digest = hmac.new(_octets(login.password), challenge, md5).hexdigest()
    yield _octets(login.user) + b" " + digest.encode()


def _xoauth2(login: Login, host: str) -> Exchange:
    """As Google and Microsoft ask for it. A challenge in return is an error in JSON, which wants an empty answer."""
    yield b"user=" + _octets(login.user) + b"\1auth=Bearer " + _octets(login.password) + b"\1\1"
    yield b""


def _oauthbearer(login: Login, host: str) -> Exchange:
    """RFC 7628."""
    yield (
        b"n,a="
        + _octets(login.user)
        + b",\1host="
        + host.encode()
        + b"\1auth=Bearer "
        + _octets(login.password)
        + b"\1\1"
    )
    yield b"\1"


MECHANISMS = (
    Mechanism("OAUTHBEARER", _oauthbearer, tells=True, token=True),
    Mechanism("XOAUTH2", _xoauth2, tells=True, token=True),
    Mechanism("PLAIN", _plain, tells=True),
    Mechanism("LOGIN", _login, tells=True),
    Mechanism("CRAM-MD5", _cram_md5, tells=False),
)
"""Best first. Through TLS PLAIN is better than CRAM-MD5, for which a server must keep the password itself."""


def choose(offered: Iterable[str], login: Login, encrypted: bool, wanted: str | None = None) -> Mechanism | None:
    """The mechanism to use; None where no mechanism that the server offers will do. wanted: this one and no other.

    In clear the password itself is shown only if nothing else is offered (that it may be was decided before).
    """
    names = {name.upper() for name in offered}
    if wanted is not None:
        known = {mechanism.name: mechanism for mechanism in MECHANISMS}
        if wanted.upper() not in known:
            raise UsageError(
                "the way of logging in is one of {known}, not {wanted}", known=", ".join(known), wanted=wanted
            )
        return known[wanted.upper()] if wanted.upper() in names else None
    fitting = [each for each in MECHANISMS if each.name in names and each.token == login.token]
    if not encrypted:
        fitting.sort(key=lambda each: each.tells)
    return fitting[0] if fitting else None


class Answers:
    """What the client says in an exchange, as its lines have it: in base64."""

    def __init__(self, mechanism: Mechanism, login: Login, host: str) -> None:
        self._exchange = mechanism.exchange(login, host)
        self._first = next(self._exchange)
        self._over = False

    def initial(self, room: int = 64 * 1024) -> str | None:
        """What may stand behind the command already; "=" is nothing at all. None: the server speaks first, or there is not
        room (characters) for it; then it is the first answer of `to`."""
        if self._first is None:
            return None
        encoded = b64encode(self._first).decode() or "="
        if len(encoded) > room:
            return None
        self._first = None
        return encoded

    def to(self, challenge: str) -> str:
        """The answer to a challenge. "*" ends the exchange (RFC 4422 §3.5): the server asks more than the mechanism knows.

        Raises ProtocolError for what is not base64, and for a server that does not let it end."""
        try:
            asked = b64decode(challenge)
        except ValueError:
            raise ProtocolError("the server's challenge is not in base64", operation="login") from None
        if self._first is not None:
            answer, self._first = self._first, None
            return b64encode(answer).decode()
        if self._over:
            raise ProtocolError("the server asks on and on, behind the end of the login", operation="login")
        try:
            return b64encode(self._exchange.send(asked) or b"").decode()
        except StopIteration:
            self._over = True
            return "*"
