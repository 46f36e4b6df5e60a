"""The servers that are compared: their names in the tables, and the commands that start them."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from benchmarks import harness

REFERENCE = "bare epoll"
UVLOOP = "uvloop Protocol"


@dataclass(frozen=True)
class Entry:
    """name: in the tables. kind: "bare" (no framework), "platform" (asyncio, uvloop), "framework" or "prise"."""

    name: str
    kind: str
    command: tuple[str, ...]


def _peer(name: str, kind: str, module: str, *options: str) -> Entry:
    return Entry(name, kind, (sys.executable, "-m", f"benchmarks.peers.{module}", *options))


def _prise(model: str, spelling: str, *options: str) -> Entry:
    loop = " + uvloop" if "--uvloop" in options else ""
    command = (sys.executable, "-m", "benchmarks.prise_servers", "--model", model, "--spelling", spelling, *options)
    return Entry(f"prise {model}{loop}, {spelling}", "prise", command)


def echo() -> list[Entry]:
    """Every line echo, the references first."""
    return [
        _peer(REFERENCE, "bare", "epoll"),
        _peer(UVLOOP, "platform", "asyncio_protocol", "--uvloop"),
        _peer("bare epoll, batched", "bare", "epoll", "--batch"),
        Entry("C epoll, batched", "bare", (harness.compiled("epoll_echo"),)),
        _peer("uvloop Protocol, batched", "platform", "asyncio_protocol", "--uvloop", "--batch"),
        _peer("asyncio Protocol", "platform", "asyncio_protocol"),
        _peer("asyncio Protocol, batched", "platform", "asyncio_protocol", "--batch"),
        _peer("uvloop streams", "platform", "asyncio_streams", "--uvloop"),
        _peer("asyncio streams", "platform", "asyncio_streams"),
        _peer("socketserver", "framework", "socketserver_threads"),
        _peer("trio", "framework", "trio_streams"),
        _peer("AnyIO", "framework", "anyio_streams"),
        _peer("Twisted", "framework", "twisted_lines"),
        _peer("EasyNetwork", "framework", "easynetwork_lines"),
        _peer("EasyNetwork + uvloop", "framework", "easynetwork_lines", "--uvloop"),
        _prise("select", "generator"),
        _prise("select", "coroutine"),
        _prise("asyncio", "generator", "--uvloop"),
        _prise("asyncio", "coroutine", "--uvloop"),
        _prise("asyncio", "generator", "--no-uvloop"),
        _prise("asyncio", "coroutine", "--no-uvloop"),
        _prise("threads", "function"),
        _prise("threads", "generator"),
        _prise("threads", "coroutine"),
        _prise("processes", "function"),
        _prise("processes", "generator"),
        _prise("processes", "coroutine"),
    ]


def idle() -> list[Entry]:
    """The echoes whose memory is compared: asyncio's streams, and prise on one loop."""
    wanted = ("asyncio streams", "uvloop streams", "prise select", "prise asyncio")
    return [entry for entry in echo() if entry.name.startswith(wanted)]


def fanout() -> list[Entry]:
    """Each line to everyone."""
    return [
        _peer("asyncio broadcast", "platform", "asyncio_broadcast"),
        _peer("uvloop broadcast", "platform", "asyncio_broadcast", "--uvloop"),
        _prise("select", "coroutine", "--room"),
        _prise("asyncio", "coroutine", "--room", "--uvloop"),
        _prise("asyncio", "coroutine", "--room", "--no-uvloop"),
    ]
