"""`prise.open(url)`: the session of whatever protocol the URL names; `get`, `put` and `ls` for one thing at a time.

    with prise.open("imaps://ada@mail.example.org/INBOX") as session:          blocking
    async with prise.open("nntps://news.example.org/") as session:             asynchronous

    prise.get(url).save("file")     prise.put(url, data)     for entry in prise.ls(url): ...

Inside a running asyncio loop the last three give what is to be awaited, or iterated over with `async for`.
"""

from __future__ import annotations

from collections.abc import Generator
from importlib import import_module
from types import TracebackType
from typing import Any

from prise.address import Address, AddressLike
from prise.clients.connect import Retry
from prise.connection.blocking import in_running_loop
from prise.errors import Unsupported, UsageError
from prise.protocols.credentials import Ask, Credentials
from prise.protocols.mover import Way
from prise.protocols.source import Data
from prise.protocols.talk import Options, Trace
from prise.protocols.target import Target

CLASSES = {
    "http": ("http", "HTTP"),
    "nntp": ("nntp", "NNTP"),
    "ftp": ("ftp", "FTP"),
    "smtp": ("smtp", "SMTP"),
    "pop3": ("pop3", "POP3"),
    "imap": ("imap", "IMAP"),
    "telnet": ("telnet", "Telnet"),
    "gopher": ("gopher", "Gopher"),
}
"""protocol -> module of this package, name of its class; that of the other colour has Async before it."""


def open(
    url: str | Target,
    *,
    user: str | None = None,
    password: str | None = None,
    token: str | None = None,
    ask: Ask | None = None,
    netrc: bool = True,
    keyring: bool = True,
    tls: Any = None,
    via: Any = (),
    timeout: float | None = 30.0,
    retry: int | Retry = 1,
    address: AddressLike | None = None,
    trace: Trace | None = None,
    **more: Any,
) -> Opener:
    """A session with the server of a URL, about to be opened: use it with `with` or `async with`, or call its `open()`.

    url: http, nntp, news, ftp, smtp, pop3, imap, telnet, gopher, and each with an `s` behind it.
    user, password: who logs in; token: an OAuth 2.0 access token in place of the password. Else the URL, netrc(5) (unless `netrc`
    is False), the system's keyring (unless `keyring` is), and at last `ask(host, user) -> (user, password)`.
    tls: a `prise.TLS` (whom to trust; by default the system's authorities). Where a connection begins in clear and a password is
    to be sent, the server must offer STARTTLS, unless the URL ends in `?tls=never` (or `optional`).
    via: proxies, as for `prise.connect`. timeout: seconds for the connection, and then for each answer (in a long one,
    for each further KiB); None: no limit. retry: attempts to connect, in all, or a `prise.Retry`. address: any address of
    prise's to connect to, in place of the URL's host and port.
    trace: called with ("<", ">" or "*", line) for all that is said, passwords hidden.
    more: what one protocol alone knows; see its class.

    Raises AddressError for what is no such URL, UsageError for an option that its protocol does not know. Opening it
    raises what `prise.connect` does, and LoginFailed.
    """
    target = Target.parse(url)
    _refuse_unknown(target, more)
    credentials = Credentials(user, password, token, netrc, keyring, ask)
    way = Way(None if address is None else Address.parse(address), tls, via, timeout, retry)
    return Opener(target, Options(credentials, trace, more), way)


def get(url: str | Target, *, offset: int = 0, **options: Any) -> Any:
    """The content of a URL, a `Content` (`AsyncContent` in a running loop): pieces of bytes, `size`, `read()`, `save(path)`.

    offset: bytes to leave out at the beginning; raises Unsupported where the protocol cannot. options: those of `open`.
    """
    session = _alone(url, options)
    if not offset:
        return session.get()
    if not session.get.takes("offset"):
        raise Unsupported("{scheme} cannot begin in the middle", scheme=session.target.scheme)
    return session.get(offset=offset)


def put(url: str | Target, data: Data, **options: Any) -> Any:
    """Sends data to where a URL says: a file, an article, a message. In a running loop: something to await.

    data: bytes, text, a path object, an open file or an iterable of bytes. options: those of `open`.
    Returns what the protocol's `put` returns, None for most.
    """
    return _alone(url, options).put(None, data)


def ls(url: str | Target, **options: Any) -> Any:
    """What there is at a URL: an iterator of `Entry` (asynchronous in a running loop). options: those of `open`."""
    return _alone(url, options).list()


class Opener:
    """A session that is about to be opened; what `prise.open` returns."""

    def __init__(self, target: Target, options: Options, way: Way) -> None:
        self.target = target
        self._options, self._way = options, way
        self._session: Any = None

    def __getattr__(self, name: str) -> Any:
        # A method of the session: who asks for it here has left out `with`.
        raise AttributeError(f"{name} is there once it is open: `with prise.open(...) as session: session.{name}...`")

    def make(self, blocking: bool, alone: bool = False) -> Any:
        """The session, not open yet. alone: it opens by itself for the first thing asked of it, and is closed behind it."""
        session = session_class(self.target.protocol, blocking)(self.target, self._options, self._way)
        session.alone = alone
        return session

    def open(self) -> Any:
        """Opens the blocking session; close it."""
        return self.make(blocking=True).open()

    async def open_async(self) -> Any:
        """Opens the asynchronous session; the same as `await prise.open(...)`."""
        return await self.make(blocking=False).open()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.open_async().__await__()

    def __enter__(self) -> Any:
        self._session = self.open()
        return self._session

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.__exit__(kind, error, trace)

    async def __aenter__(self) -> Any:
        self._session = await self.open_async()
        return self._session

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.__aexit__(kind, error, trace)


def session_class(protocol: str, blocking: bool = True) -> Any:
    """The class of a protocol's sessions; imported when it is needed. Raises MissingExtra."""
    module, name = CLASSES[protocol]
    return getattr(import_module(f"prise.protocols.{module}"), name if blocking else f"Async{name}")


def _refuse_unknown(target: Target, options: dict[str, Any]) -> None:
    known = session_class(target.protocol).options_known
    for name in options:
        if name not in known:
            raise UsageError(
                "{scheme} has no option {name}; of its own it has: {known}",
                scheme=target.scheme,
                name=name,
                known=", ".join(known) or "-",
            )


def _alone(url: str | Target, options: dict[str, Any]) -> Any:
    return open(url, **options).make(blocking=not in_running_loop(), alone=True)
