"""Who logs in: what was said outright, then the URL, then netrc(5), then the keyring, then somebody is asked.

A password never shows in an error, a repr or a trace. Nothing is looked up before a server wants to know.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from prise.errors import UsageError
from prise.protocols.target import Target, refuse_line_ends

Ask = Callable[[str, "str | None"], "tuple[str, str] | None"]
"""Asks a person: (the server, the user as far as it is known) -> (user, password), None for no answer."""

MOST_NETRC = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Login:
    """A user and the password, or an access token (OAuth 2.0)."""

    user: str
    password: str = field(repr=False)
    token: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where a login comes from. user, password: said outright. token: an OAuth 2.0 access token in place of a password.

    use_netrc: look into the file that NETRC names, else ~/.netrc. use_keyring: ask the system's keyring, where the package
    `keyring` is installed. ask: the last resort.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    use_netrc: bool = True
    use_keyring: bool = True
    ask: Ask | None = None

    def find(self, target: Target, needed: bool = True) -> Login | None:
        """The login for a server; None where there is none. needed: also ask the keyring, and a person."""
        user = self.user or target.user
        login: Login | None = None
        if user is not None and self.token is not None:
            login = Login(user, self.token, token=True)
        elif user is not None and self.password is not None:
            login = Login(user, self.password)
        elif self.user is None and target.user is not None and target.password is not None:
            login = Login(target.user, target.password)
        login = login or (self._from_netrc(target, user) if self.use_netrc else None)
        if login is None and needed:
            login = self._from_keyring(target, user) if self.use_keyring and user else None
            if login is None and self.ask is not None and (answer := self.ask(target.host, user)) is not None:
                login = Login(*answer)
        if login is not None:
            refuse_line_ends(user=login.user)
            if any(character in login.password for character in "\r\n\0"):
                raise UsageError("a password cannot hold line ends or NUL")
            try:
                f"{login.user}{login.password}".encode(errors="surrogateescape")
            except UnicodeEncodeError:
                raise UsageError("a user or password cannot hold half of a surrogate pair") from None
        return login

    def _from_netrc(self, target: Target, user: str | None) -> Login | None:
        path = Path(os.environ.get("NETRC") or os.path.expanduser("~/.netrc"))
        try:
            if path.stat().st_size > MOST_NETRC:
                raise UsageError("{path} has more than {limit} bytes", path=path, limit=MOST_NETRC)
            found = netrc.netrc(str(path)).authenticators(target.host)
        except (FileNotFoundError, NotADirectoryError):  # a service has /dev/null for its home
            return None
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError) as error:
            # Its message may quote the file, so it is not passed on.
            reason = error.strerror if isinstance(error, OSError) else "line {line}: not as netrc(5) says"
            raise UsageError(
                "{path} cannot be read ({reason})",
                path=path,
                reason=str(reason).format(line=getattr(error, "lineno", "?")),
            ) from None
        if found is None or (user is not None and found[0] != user):
            return None
        return Login(found[0], found[2] or "")

    def _from_keyring(self, target: Target, user: str | None) -> Login | None:
        try:
            import keyring
        except ImportError:
            return None
        try:
            password = keyring.get_password(target.host, user or "")
        except Exception:  # whatever the backend of the day raises where there is no keyring
            return None
        return None if password is None or user is None else Login(user, password)
