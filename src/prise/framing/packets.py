"""Packets (being written)."""
from __future__ import annotations
from prise.framing.base import Framing
def is_text(framing: Framing) -> bool:
    from prise.framing.coded import Coded
    return isinstance(framing, Coded)
def packets(framing: Framing, *, terminated: bool) -> Framing:
    return framing
