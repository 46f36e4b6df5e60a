"""The built-in conversations of `prise serve`. They are generators, so that every model runs them; with a framing that
carries bytes they speak bytes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from prise import BaseConnection, UsageError

Talk = Generator[Any, Any, Any]


def echo(connection: BaseConnection) -> Talk:
    """Every message comes back."""
    message = yield
    while True:
        message = yield message


def greet(connection: BaseConnection) -> Talk:
    """Thanks for the connection and closes it."""
    return _carried(connection, "Thank you for connecting")
    yield  # makes it a generator


def upper(connection: BaseConnection) -> Talk:
    """Every message comes back in upper case."""
    message = yield
    while True:
        message = yield message.upper() if isinstance(message, (str, bytes)) else message


def discard(connection: BaseConnection) -> Talk:
    """Takes everything and says nothing (RFC 863)."""
    while True:
        yield


def time(connection: BaseConnection) -> Talk:
    """Says the date and the time, and closes (RFC 867)."""
    from datetime import datetime

    return _carried(connection, datetime.now().astimezone().isoformat(" ", "seconds"))
    yield


BUILT_IN: dict[str, Callable[[BaseConnection], Talk]] = {
    conversation.__name__: conversation for conversation in (echo, greet, upper, discard, time)
}


def _carried(connection: BaseConnection, text: str) -> str | bytes:
    """The text as the framing of this connection carries it."""
    try:
        connection.encode(text)
    except UsageError:
        return text.encode()
    return text
