"""FTP's control connection: the greeting, TLS, the login, what the server can do, and one command after the other.

A real user's password goes out through TLS alone (AUTH TLS, RFC 4217), unless the URL ends in ?tls=never. An anonymous login has
nothing to hide: TLS is used where it is offered. With TLS, the data connections are always encrypted too (PROT P).

Names are UTF-8 (RFC 2640). Bytes of a server that are not come as surrogates (PEP 383), and go back as the bytes they were.
"""

from __future__ import annotations

import re
from typing import Literal

from prise.errors import ConnectionLost, LoginFailed, NotFound, ProtocolError, Refused, TLSError, UsageError
from prise.protocols.credentials import Login
from prise.protocols.reply import Reply, read_reply
from prise.protocols.steps import Steps
from prise.protocols.talk import HIDDEN, Talk, cleaned
from prise.protocols.target import decoded, refuse_line_ends

ANONYMOUS = ("anonymous", "ftp")
"""Users without a password (RFC 1635)."""

MOST_PRELIMINARY = 100
"""Answers that only say that the real one is to come (1xx)."""

# What must be there for these to work, so 550 says that it is not, unless the words tell of something else.
_NEEDS_THING = {"RETR", "SIZE", "MDTM", "MFMT", "MLST", "MLSD", "LIST", "CWD", "DELE", "RMD", "RNFR"}
_IS_THERE = re.compile(r"denied|permission|permitted|allowed|not empty|regular|not a directory|exists", re.IGNORECASE)

_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_TYPE = re.compile(r";type=([a-z])\Z", re.IGNORECASE)


class ControlTalk(Talk):
    """features: what FEAT said, by name, with its parameters; empty where the server knows no FEAT. greeting: its first words."""

    features: dict[str, str]
    greeting = ""
    _home: str | None = None  # the folder that the URL's place is relative to, once `cwd` has left it
    _type: Literal["A", "I"] = "A"  # of what is transferred, as the server has it; RFC 959 §5.1

    # -- coming and going ----------------------------------------------------------------------------------------------

    def hello(self) -> Steps[None]:
        reply = yield from self._final()
        self.greeting = reply.text
        if reply.kind != 2:
            raise reply.refusal(Refused, self, "the greeting")
        login = self._who()
        anonymous = login.user.lower() in ANONYMOUS
        yield from self._encrypt(required=self.policy(login=not anonymous) == "required")
        yield from self._log_in(login)
        if self.encrypted:
            yield from self._command("PBSZ 0")
            yield from self._command("PROT P")
        self.features = yield from self._feat()
        if "UTF8" in self.features:
            yield from self._ask("OPTS UTF8 ON")  # most need no telling, and some of those refuse it
        yield from self._transfer_as("I")

    def bye(self) -> Steps[None]:
        yield from self._command("QUIT")

    def _who(self) -> Login:
        user = self.options.credentials.user or self.target.user
        login = self.login(needed=user is not None and user.lower() not in ANONYMOUS)
        if login is None and user is not None and user.lower() not in ANONYMOUS:
            raise self.no_login()
        return login or Login(user or "anonymous", "anonymous@")

    def _encrypt(self, required: bool) -> Steps[None]:
        if self.encrypted or self.target.policy == "never":
            return
        reply = yield from self._ask("AUTH TLS")
        if reply.kind == 2:
            yield from self.start_tls()
        elif required:
            raise self.must_encrypt()

    def _log_in(self, login: Login) -> Steps[None]:
        if login.token:
            raise LoginFailed("the server does not offer this way of logging in: {wanted}", wanted="OAuth 2.0")
        reply = yield from self._ask(f"USER {login.user}")
        if reply.code == 331:
            reply = yield from self._ask(f"PASS {login.password}", f"PASS {HIDDEN}")
        if reply.code == 332:
            raise LoginFailed("the server asks for an account as well (ACCT), which prise does not know")
        if reply.kind != 2:
            raise reply.refusal(LoginFailed, self, "login")

    def _feat(self) -> Steps[dict[str, str]]:
        reply = yield from self._ask("FEAT")
        if reply.code != 211:
            return {}
        found = (line.strip().partition(" ") for line in reply.lines[1:-1])
        return {name.upper(): rest for name, _, rest in found}

    # -- one command, one answer ---------------------------------------------------------------------------------------

    def hear(self) -> Steps[str]:
        try:
            return (yield from super().hear())
        except TLSError as error:
            if self.encrypted:
                raise TLSError(
                    "TLS ended with an error ({reason}); a server with a failure of its own may say so in clear, as vsftpd "
                    "does (500 OOPS): its log knows more",
                    operation="receive",
                    peer=self.target,
                    reason=error.sentence(),
                ) from error
            raise

    def _ask(self, line: str, shown: str | None = None) -> Steps[Reply]:
        """A command and its answer, whatever that is. Raises ConnectionLost when that is its farewell."""
        data = line.encode(errors="surrogateescape")
        # The control connection is Telnet's (RFC 959 §2.3): there a byte 255, which UTF-8 has not, is written twice.
        yield from self.say(data.replace(b"\xff", b"\xff\xff"), shown)
        reply = yield from read_reply(self)
        self._refuse_farewell(reply, line)
        return reply

    def _refuse_farewell(self, reply: Reply, line: str) -> None:
        """Raises ConnectionLost for a 421: perhaps said long before it was asked, so no answer to anything."""
        if reply.code == 421:
            raise ConnectionLost(
                "the server has ended the session: {code} {words}",
                operation=line.partition(" ")[0],
                peer=self.target,
                code=reply.code,
                words=cleaned(reply.text),
            )

    def _command(self, line: str) -> Steps[Reply]:
        """A command that the server is to carry out. Raises Refused, NotFound."""
        reply = yield from self._ask(line)
        if reply.kind not in (2, 3):
            raise self._refusal(reply, line)
        return reply

    def _final(self) -> Steps[Reply]:
        """The next answer that says how it ended."""
        for _ in range(MOST_PRELIMINARY):
            reply = yield from read_reply(self)
            if reply.kind != 1:
                return reply
        raise ProtocolError("the server has said {limit} times that its answer is to come", limit=MOST_PRELIMINARY)

    def _refusal(self, reply: Reply, line: str) -> Refused | ProtocolError:
        command = line.partition(" ")[0]
        if reply.kind < 4:
            return ProtocolError(
                "the server's answer to {command} does not fit: {code}",
                peer=self.target,
                command=command,
                code=reply.code,
            )
        missing = reply.code == 550 and command in _NEEDS_THING and _IS_THERE.search(reply.text) is None
        return reply.refusal(NotFound if missing else Refused, self, command)

    def _transfer_as(self, kind: Literal["A", "I"]) -> Steps[None]:
        """TYPE: files are always "I", bytes as they are; lists are text."""
        if self._type != kind:
            yield from self._command(f"TYPE {kind}")
            self._type = kind

    # -- names ---------------------------------------------------------------------------------------------------------

    def _path(self, name: str | None) -> str:
        """What a command is about. None: the URL's place, which leads on from the folder of the login (RFC 1738 §3.2.2)."""
        if name is not None:
            refuse_line_ends(name=name)
            return name
        place = self.target.place
        if (kind := _TYPE.search(place)) is not None:
            if kind.group(1).lower() == "a":
                raise UsageError("files are transferred as the bytes that they are: leave ;type=a out of the URL")
            place = place[: kind.start()]
        path = decoded(place)
        if len(path) > 1:
            path = path.rstrip("/") or "/"
        return path if self._home is None or path.startswith("/") else join(self._home, path)

    def _quoted(self, reply: Reply, command: str) -> str:
        """The path of an answer 257, in which quotes are doubled (RFC 959, appendix II)."""
        found = _QUOTED.search(reply.text)
        if found is None:
            raise ProtocolError(
                "the server's answer to {command} has no path between quotes", peer=self.target, command=command
            )
        return found.group(1).replace('""', '"').replace("\udcff\udcff", "\udcff")


def join(folder: str, name: str) -> str:
    """The path of something in a folder; "" is the folder that the server has us in."""
    if not name:
        return folder
    return f"{folder}{name}" if not folder or folder.endswith("/") else f"{folder}/{name}"
