"""The kinds of values that options take: how each is read from text, and how it completes in a shell."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

import prise
from prise.locale import translate as _

OFF = "none"
"""What is written to switch a limit off."""

MODELS = ("threads", "processes", "select", "asyncio")
FRAMINGS = ("lines", "delimited", "fixed", "prefixed", "varint", "netstring", "cobs", "slip", "chunks")
ADDRESSES = (":50000", "localhost:50000", "*:50000", "tcp:", "tls:", "udp:", "unix:", "ws://", "wss://")
"""What a shell offers to complete; the library knows what is right."""

_SIZES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_TIMES = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


class Size(click.ParamType[int]):
    """A number of bytes: 4096, 64K, 1M, 1MiB."""

    name = "SIZE"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return _("SIZE")

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([0-9]{1,15})\s*([KMG]?)(?:i?B)?", str(value), re.ASCII | re.IGNORECASE)
        if match is None:
            self.fail(
                _("{value!r} is not a size; write for example 4096, 64K or 1M").format(value=value), parameter, context
            )
        return int(match[1]) * _SIZES[match[2].upper()]


class Duration(click.ParamType[float | str]):
    """Seconds: 30, 1.5s, 500ms, 5m, 1h; with `optional`, also none."""

    name = "TIME"

    def __init__(self, optional: bool = False) -> None:
        self.optional = optional

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return _("TIME")

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float | str:
        if isinstance(value, (int, float)):
            return value
        if self.optional and value == OFF:
            return OFF
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|[smh]?)", str(value), re.ASCII)
        if match is None:
            text = _("{value!r} is not a time; write for example 30, 1.5s, 500ms or 5m")
            self.fail(text.format(value=value), parameter, context)
        return float(match[1]) * _TIMES[match[2]]


class Count(click.ParamType[int | str]):
    """A whole number from 1 on, or none."""

    name = "N"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int | str:
        if isinstance(value, int) or value == OFF:
            return value  # type: ignore[no-any-return]
        if not re.fullmatch(r"[0-9]{1,9}", str(value), re.ASCII) or not int(value):
            self.fail(
                _("{value!r} is not a number; write for example 100, or none").format(value=value), parameter, context
            )
        return int(value)


class Words(click.ParamType[str]):
    """Text that is checked later, by the library; some of what it may be completes, and file names do where they fit."""

    name = "TEXT"

    def __init__(self, *words: str, files: bool = False, paths: bool = False) -> None:
        self.words = words
        self.files = files
        self.paths = paths  # only when it looks like one already

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        items = [CompletionItem(word) for word in self.words if word.startswith(incomplete)]
        if self.files or (self.paths and incomplete.startswith(("/", "./", "../"))):
            items.insert(0, CompletionItem(incomplete, type="file"))  # first: in bash it empties the list
        return items


ADDRESS = Words(*ADDRESSES, paths=True)
FRAMING = Words(*FRAMINGS, "lines|json", "prefixed:4|json")


def retry(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--retry` of what connects."""
    option = click.option(
        "--retry", type=click.IntRange(0), default=0, metavar="N", help=_("How often to try again when nobody answers.")
    )
    return option(command)


def handover(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--handover` of what serves."""
    option = click.option(
        "--handover",
        metavar=_("PATH"),
        help=_("Let a new release take over, at this path (see `prise restart`); take over from who serves there now."),
    )
    return option(command)


def succession(path: str | None) -> Any:
    """What `--handover` gave; None without it."""
    if path is None:
        return None
    if not path:
        raise prise.UsageError("--handover needs a path, and this one is empty; write for example run/chat")
    from prise.handover import Succession

    return Succession(path)


def stay_for_heir(context: click.Context, succession: Any) -> None:
    """In a terminal, which would take the end of this process for the end of all: waits for the new release that took over."""
    if succession is not None and sys.stdin is not None and sys.stdin.isatty():
        context.exit(succession.wait_for_heir())
