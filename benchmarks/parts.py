"""The parts of the benchmarks, in the order in which they run, and the module of each."""

from __future__ import annotations

import importlib
from typing import Any

NAMES = (
    "echo",
    "budget",
    "scale",
    "accept",
    "firstbyte",
    "idle",
    "tls",
    "websocket",
    "udp",
    "fanout",
    "relay",
    "web",
    "chat",
    "page",
    "store",
    "nats",
    "handover",
    "ipc",
    "nntp",
    "imap",
    "ftp",
    "http",
)
CLIENTS = ("nntp", "imap", "ftp", "http")  # of these, one module has all


def part(name: str) -> Any:
    """What measures: it has measure(rounds, seconds, only)."""
    if name in CLIENTS:
        return importlib.import_module("benchmarks.clients").TASKS[name]
    return importlib.import_module(f"benchmarks.{name}")
