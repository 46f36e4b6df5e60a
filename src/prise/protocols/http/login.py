"""How a request says who asks (RFC 9110 §11): Basic (RFC 7617), Digest (RFC 7616), Bearer (RFC 6750)."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from dataclasses import dataclass, field

from prise.errors import UsageError
from prise.protocols.credentials import Login
from prise.protocols.http.message import Headers

MOST_CHALLENGES = 20

_PARAMETER = re.compile(r"""([\w!#$%&'*+.^`|~-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))""")
_SCHEME = re.compile(r"[\w!#$%&'*+.^`|~-]+")
_ALGORITHMS = {"md5": "md5", "sha-256": "sha256"}


@dataclass(slots=True)
class Challenge:
    """scheme: "basic", in lower case. details: its parameters, names in lower case."""

    scheme: str
    details: dict[str, str] = field(default_factory=dict)


def read_challenges(headers: Headers, name: str = "www-authenticate") -> list[Challenge]:
    """What a 401 asks for. What is not written as the RFC says is passed over."""
    found: list[Challenge] = []
    text, at = headers.get(name, ""), 0
    while at < len(text) and len(found) < MOST_CHALLENGES:
        if found and (parameter := _PARAMETER.match(text, at)):
            value = parameter[3] if parameter[2] is None else re.sub(r"\\(.)", r"\1", parameter[2])
            found[-1].details[parameter[1].lower()] = value
            at = parameter.end()
        elif scheme := _SCHEME.match(text, at):
            found.append(Challenge(scheme.group().lower()))
            at = scheme.end()
        else:
            at += 1
    return found


class Authorization:
    """What goes into every request to one server. tells: it shows the password, or the token, to whoever reads along."""

    tells = True

    def __init__(self, login: Login) -> None:
        self._login = login

    def header(self, method: str, path: str) -> str:
        raise NotImplementedError


class Basic(Authorization):
    def header(self, method: str, path: str) -> str:
        if ":" in self._login.user:
            raise UsageError("a user's name with a colon cannot log in by Basic (RFC 7617)")
        return (
            "Basic " + b64encode(f"{self._login.user}:{self._login.password}".encode(errors="surrogateescape")).decode()
        )


class Bearer(Authorization):
    def header(self, method: str, path: str) -> str:
        return f"Bearer {self._login.password}"


class Digest(Authorization):
    """The password stays here; what is sent proves that we know it. For qop=auth, and for the old form without."""

    tells = False

    def __init__(self, login: Login, details: dict[str, str]) -> None:
        super().__init__(login)
        self._details = details
        self._count = 0
        self._session = os.urandom(8).hex()
        name = details.get("algorithm", "MD5").lower()
        self._with_session = name.endswith("-sess")
        self._algorithm = _ALGORITHMS[name.removesuffix("-sess")]

    @staticmethod
    def can(details: dict[str, str]) -> bool:
        """Whether we know this kind of it."""
        name = details.get("algorithm", "MD5").lower().removesuffix("-sess")
        qop = [each.strip() for each in details.get("qop", "auth").split(",")]
        return name in _ALGORITHMS and "auth" in qop and "nonce" in details

    def _hash(self, *parts: str) -> str:
        import hashlib

        return hashlib.new(
            self._algorithm, ":".join(parts).encode(errors="surrogateescape"), usedforsecurity=False
        ).hexdigest()

    def header(self, method: str, path: str) -> str:
        details, user = self._details, self._login.user
        realm, nonce = details.get("realm", ""), details["nonce"]
        self._count += 1
        count = f"{self._count:08x}"
        secret = self._hash(user, realm, self._login.password)
        if self._with_session:
            secret = self._hash(secret, nonce, self._session)
        what = self._hash(method, path)
        said = {"username": user, "realm": realm, "nonce": nonce, "uri": path}
        if "qop" in details:
            said["response"] = self._hash(secret, nonce, count, self._session, "auth", what)
            plain = f", qop=auth, nc={count}"
            said["cnonce"] = self._session
        else:
            said["response"] = self._hash(secret, nonce, what)
            plain = ""
        if "opaque" in details:
            said["opaque"] = details["opaque"]
        if "algorithm" in details:
            plain += f", algorithm={details['algorithm']}"
        quoted = ((name, value.replace("\\", "\\\\").replace('"', '\\"')) for name, value in said.items())
        return "Digest " + ", ".join(f'{name}="{value}"' for name, value in quoted) + plain


def answer(challenges: list[Challenge], login: Login) -> Authorization | None:
    """The best answer to what a 401 asks for; None where we know none."""
    if login.token:
        return Bearer(login)
    for challenge in challenges:
        if challenge.scheme == "digest" and Digest.can(challenge.details):
            return Digest(login, challenge.details)
    return Basic(login) if any(challenge.scheme == "basic" for challenge in challenges) else None
