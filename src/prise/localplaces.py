"""What comes after the colon where an address means something of this machine: a command, a descriptor, a file, a vsock.

Read and checked, nothing is opened. `shown` is the whole address as error messages print it. Each gives the text that is
kept in the address.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from prise.errors import AddressError

_CONTEXTS = ("", "*", "host", "local", "hypervisor")


def read_words(shown: str, text: str) -> str:
    """A command that is split into words as a POSIX shell does (shlex)."""
    import shlex  # needed only for commands

    _text(shown, text)
    try:
        words = shlex.split(text)
    except ValueError:  # "No closing quotation", "No escaped character"
        raise AddressError(
            "a quotation mark in the command is not closed, or it ends with a backslash", local=shown
        ) from None
    if not words or not words[0]:
        raise AddressError("the command is missing; example: {example}", local=shown, example="exec:cat -n")
    return text


def read_command(shown: str, text: str) -> str:
    """A command for /bin/sh, which reads it itself."""
    if not _text(shown, text).strip():
        raise AddressError("the command is missing; example: {example}", local=shown, example="sh:ls | sort")
    return text


def read_file(shown: str, text: str) -> str:
    if not _text(shown, text):
        raise AddressError("the path is missing; example: {example}", local=shown, example="file:/etc/hosts")
    return text


def read_device(shown: str, text: str) -> str:
    if not _text(shown, text):
        raise AddressError("the device is missing; example: {example}", local=shown, example="serial:/dev/ttyUSB0")
    return text


def read_descriptor(shown: str, text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise AddressError(
            "{number} is not the number of a descriptor; example: {example}",
            local=shown,
            number=repr(text),
            example="fd:3",
        )
    return str(int(text))


def read_nothing(shown: str, text: str, scheme: str = "stdio:") -> str:
    if text:
        raise AddressError("nothing comes after {scheme}", local=shown, scheme=scheme)
    return text


def read_optional_name(shown: str, text: str) -> str:
    return _text(shown, text)


def read_vsock(shown: str, text: str) -> tuple[str | None, int]:
    """Context id and port, both of 32 bits; no context id: None."""
    host, colon, port = text.partition(":")
    name, numeric = host.lower(), re.fullmatch(r"[0-9]{1,10}", host, re.ASCII)
    if not colon or not (name in _CONTEXTS or (numeric and int(host) < 2**32 - 1)):
        raise AddressError(
            "{rest} is not a context id and a port; the first is host, local, hypervisor, * or a number; "
            "example: {example}",
            local=shown,
            rest=repr(text),
            example="vsock:host:1024",
        )
    if not re.fullmatch(r"[0-9]{1,10}", port, re.ASCII) or int(port) >= 2**32 - 1:
        raise AddressError(
            "the port {port} is not a number from 0 to {most}", local=shown, port=repr(port), most=2**32 - 2
        )
    return (str(int(host)) if numeric else name or None), int(port)


def one_of(*values: str) -> Callable[[str], str]:
    """Reads an option that has these values only."""

    def read(value: str) -> str:
        if value not in values:
            raise ValueError(value)
        return value

    return read


def _text(shown: str, text: str) -> str:
    if "\0" in text:
        raise AddressError("a command, path or name cannot have a NUL character", local=shown)
    return text
