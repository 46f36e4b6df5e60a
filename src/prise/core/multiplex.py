"""One port, several protocols: plain lines, HTTP, WebSocket and TLS, told apart by the first bytes of a connection.

The rules, each of which was learned from a failure:

- HTTP is a whole first line `TOKEN target HTTP/d.d`. "GET a life!" is somebody chatting. While the line may still become a
  request line, it is waited for.
- Somebody with netcat says nothing and expects to be greeted; no HTTP client waits. So silence means lines. One byte, and
  there is no silence any more: a slow client may be typing `GET`.
- 22 is the first byte of TLS (RFC 8446 §5.1). What is inside is looked at again. 255 (telnet) means lines.
- Once chosen it stays chosen: a web page that posts lines of chat to the port of a chat room speaks HTTP to the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from prise.core.pipeline import Branch
from prise.errors import HandshakeError, UsageError
from prise.framing.base import Framing
from prise.framing.names import framing_of
from prise.layers.base import LayerFactory

LONGEST_HEAD = 8 * 1024
"""Bytes of a request's head that are looked at to tell WebSocket from other HTTP."""

SILENCE = 0.3
"""Seconds without a byte that mean lines."""

_REQUEST = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ \S+ HTTP/[0-9]\.[0-9]\r?")
_MAYBE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+( (\S+( (H(T(T(P(/([0-9](\.([0-9]\r?)?)?)?)?)?)?)?)?)?)?)?")
_END = re.compile(rb"\n\r?\n")
_UPGRADE = re.compile(rb"\n[Uu][Pp][Gg][Rr][Aa][Dd][Ee]:[^\n]*[Ww][Ee][Bb][Ss][Oo][Cc][Kk][Ee][Tt]")


class Multiplex:
    """Conversations that share a port; give it to `serve` or `listen` in place of a conversation.

    lines, http, websocket: a conversation each, or `(conversation, framing)`, or with layers and limits behind that,
    `(conversation, framing, layers, limits)`; by default the framing is "lines", for http "chunks", and the limits (of one
    connection, not those on how many there are) are the server's. websocket's messages are whole, so only the codec of its
    framing counts. Whoever speaks what has no conversation is refused. tls: a `TLS`, so that all of them are served inside
    TLS as well.
    origins: which web pages may open a WebSocket, see `layers.websocketserver`. All conversations have the same spelling.
    """

    def __init__(
        self,
        *,
        lines: Any = None,
        http: Any = None,
        websocket: Any = None,
        tls: Any = None,
        origins: Any = None,
    ) -> None:
        self._branches: dict[str, Branch] = {}
        for name, given in (("lines", lines), ("http", http), ("websocket", websocket)):
            if given is not None:
                self._branches[name] = _branch(given, "chunks" if name == "http" else "lines")._replace(name=name)
        if not self._branches:
            raise UsageError("a Multiplex needs a conversation: lines=, http= or websocket=")
        if "websocket" in self._branches:
            from prise.layers.websocketserver import server_factory

            chosen = self._branches["websocket"]
            self._branches["websocket"] = chosen._replace(layers=(server_factory(origins=origins), *chosen.layers))
        self._tls: LayerFactory | None = None if tls is None else tls.server()
        self.patience = SILENCE if "lines" in self._branches else None

    @property
    def conversations(self) -> list[Callable[[Any], Any]]:
        return [branch.conversation for branch in self._branches.values() if branch.conversation is not None]

    def choose(self, head: bytes, over: bool) -> Branch | None:
        if not head and not over:
            return None  # what came was for the layers so far: TLS's handshake
        if head[:1] == b"\x16":
            if self._tls is None:
                raise HandshakeError("the client speaks TLS, which is not served here")
            return Branch(None, next(iter(self._branches.values())).framing, (self._tls,))
        if head.startswith(b"SSH-"):
            raise HandshakeError("the client speaks SSH, which is not served here")
        line, newline, _ = head.partition(b"\n")
        if newline and _REQUEST.fullmatch(line):
            return self._choose_http(head, over)
        if not newline and not over and len(head) <= LONGEST_HEAD and _MAYBE.fullmatch(line):
            return None
        return self.named("lines")

    def _choose_http(self, head: bytes, over: bool) -> Branch | None:
        if "websocket" not in self._branches:
            return self.named("http")
        end = _END.search(head)
        if end is None and not over and len(head) <= LONGEST_HEAD:
            return None
        wants = _UPGRADE.search(head, 0, end.start() + 1 if end else len(head)) is not None
        # Without an http conversation, the WebSocket's own answer tells what is expected here.
        return self.named("websocket" if wants or "http" not in self._branches else "http")

    def named(self, name: str) -> Branch:
        """See `Chooser.named`."""
        branch = self._branches.get(name)
        if branch is None:
            served = ", ".join(self._branches)
            raise HandshakeError(
                "the client speaks {name}, which is not served here; served: {served}", name=name, served=served
            )
        return branch


def _branch(given: Any, framing: str) -> Branch:
    conversation, *more = given if isinstance(given, tuple) else (given,)
    chosen: str | Framing = more[0] if more else framing
    layers = tuple(more[1]) if len(more) > 1 else ()
    return Branch(conversation, framing_of(chosen), layers, more[2] if len(more) > 2 else None)
