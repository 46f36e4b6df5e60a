"""Every error that prise raises, on one page.

    PriseError
    ├── PeerError                  what the other side, or the network between, did
    │   ├── ResolveError           no address has that name                       exit code 3
    │   ├── ConnectError           nobody answers there                           exit code 4
    │   ├── TooSlow                a deadline passed (also a TimeoutError)        exit code 5
    │   ├── ConnectionLost         the connection broke (also a ConnectionError)  exit code 8
    │   ├── HandoverError          a connection did not change hands              exit code 1
    │   │   ├── HandoverRefused    the other process said no: it is still ours    exit code 4
    │   │   ├── HandoverProtocolError  what arrived is no handover                exit code 1
    │   │   └── HandoverUncertain  no answer came: we have let go of it           exit code 8
    │   ├── Refused                a server understood, and said no               exit code 1
    │   │   ├── LoginFailed        to this user and password                      exit code 7
    │   │   └── NotFound           there is no such thing
    │   └── FrameError             the bytes are not what the framing allows      exit code 1
    │       ├── MessageTooLarge    a message passed the size limit
    │       ├── ProtocolError      an answer that the protocol does not know
    │       └── HandshakeError     a layer (WebSocket, a proxy) could not be set up
    │           └── TLSError       nor could TLS: certificate, name, version      exit code 6
    └── UsageError                 what the caller did                            exit code 2
        ├── AddressError           the text is not an address
        ├── BindError              the address cannot be listened on              exit code 4
        ├── SpellingError          this model cannot run this conversation
        ├── Unsupported            the platform lacks what was asked for
        └── MissingExtra           an optional package is not installed (also an ImportError)

An error reads like a sentence: what was tried, on what, between whom, and why it failed. The reason is a template and its
details are kept apart, so that the command can say the same in the user's language (see `prise.locale`).
"""

from __future__ import annotations

from typing import Any, ClassVar


class PriseError(Exception):
    """The root. `str(error)` is the whole sentence.

    reason: what happened and what to do about it; a template for `str.format`, filled from `details`.
    operation: what was being done ("connect", "bind", "receive"), transport ("tcp"), local and peer addresses (anything
    that prints as one); each may be None when it does not apply.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        reason: str,
        /,
        *,
        operation: str | None = None,
        transport: str | None = None,
        local: object = None,
        peer: object = None,
        **details: Any,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.operation = operation
        self.transport = transport
        self.local = local
        self.peer = peer
        self.details = details

    def __str__(self) -> str:
        return self.sentence()

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross processes (pickle); the default would call __init__ with the formatted text only.
        return (_rebuild, (type(self), self.reason, self.__dict__.copy()))

    def sentence(self, translate: Any = str) -> str:
        """The sentence in the language of `translate` (template -> template), by default English."""
        subject = " ".join(
            str(part)
            for part in (
                # In capitals it is the protocol's own word: LIST, RETR.
                translate(self.operation) if self.operation and not self.operation.isupper() else self.operation,
                self.transport,
                self.peer if self.peer is not None else self.local,
            )
            if part
        )
        # Without details the text is no template: it may hold braces that came from the outside.
        reason = translate(self.reason)
        reason = reason.format(**self.details) if self.details else reason
        return f"{subject}: {reason}" if subject else str(reason)


def _rebuild(kind: type[PriseError], reason: str, attributes: dict[str, Any]) -> PriseError:
    error = kind.__new__(kind)
    Exception.__init__(error, reason)
    error.__dict__.update(attributes)
    return error


class PeerError(PriseError):
    """The other side, or the network, is the cause."""


class ResolveError(PeerError):
    """No address belongs to this name."""

    exit_code = 3


class ConnectError(PeerError, ConnectionError):
    """No address of the peer accepted the connection."""

    exit_code = 4


class TooSlow(PeerError, TimeoutError):
    """A deadline passed: of a connect, a whole message, a write, silence, or the caller's own `timeout`."""

    exit_code = 5


class ConnectionLost(PeerError, ConnectionError):
    """The connection broke before the conversation was over."""

    exit_code = 8


class Refused(PeerError):
    """A server understood what was asked and said no. `code` and `words` are its own.

    code: as the protocol writes it ("550", "NO", "-ERR"; "" where it has none). words: one line or several, without
    characters that would move a terminal's cursor.
    """

    def __init__(
        self, reason: str = "the server said: {code} {words}", /, *, code: str = "", words: str = "", **rest: Any
    ) -> None:
        super().__init__(reason, **rest, code=code, words=words)
        self.code = code
        self.words = words


class LoginFailed(Refused):
    """The server does not let this user in with this password, or by this way of logging in."""

    exit_code = 7


class NotFound(Refused):
    """What was asked for is not there: a file, an article, a mailbox."""


class FrameError(PeerError):
    """The bytes that arrived are not a message in this framing.

    offset: position in the received stream of the byte that is wrong, counted from 0; None where there is none.
    """

    def __init__(self, reason: str, /, *, offset: int | None = None, **rest: Any) -> None:
        super().__init__(reason, **rest)
        self.offset = offset
        if offset is not None:
            self.details.setdefault("offset", offset)


class MessageTooLarge(FrameError):
    """A message is longer than the limit allows. The connection cannot go on: where the next message begins is unknown."""


class ProtocolError(FrameError):
    """What a server answered is not what the protocol allows. The conversation cannot go on: who knows what comes next."""


class HandshakeError(FrameError):
    """The two sides could not agree how to talk: the WebSocket, proxy or PROXY handshake failed or was refused."""


class TLSError(HandshakeError):
    """TLS could not be set up, or broke: a certificate, name or pin that is not the expected one, no common version."""

    exit_code = 6


class HandoverError(PeerError):
    """A connection cannot be given to another process, or could not be: it is still ours. See `prise.handover`."""


class HandoverRefused(HandoverError):
    """The other process did not take it, and said or showed why; the connection is still ours."""

    exit_code = 4


class HandoverProtocolError(HandoverError):
    """What arrived on the channel is not a handover; whatever came with it was closed. The channel is of no more use."""


class HandoverUncertain(HandoverError):
    """The other process did not say in time whether it has taken the connection. Our copy is closed, and the channel.

    So the connection lives on over there or nowhere, never on both sides.
    """

    exit_code = 8


class UsageError(PriseError):
    """The caller is the cause: the call can never work as it is."""

    exit_code = 2


class AddressError(UsageError, ValueError):
    """The text is not an address."""


class BindError(UsageError, OSError):
    """The address cannot be listened on: taken, not ours, or not allowed."""

    exit_code = 4


class SpellingError(UsageError, TypeError):
    """The conversation's spelling (function, generator, coroutine) and the model do not go together."""


class Unsupported(UsageError):
    """This platform, or this build of Python, lacks what was asked for."""


class MissingExtra(UsageError, ImportError):
    """An optional package is missing; the message names the command that installs it."""
