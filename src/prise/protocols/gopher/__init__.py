"""Gopher: menu.py reads menus without I/O, session.py is what `prise.open("gopher://...")` gives."""

from __future__ import annotations

from prise.protocols.gopher.session import AsyncGopher, Gopher, GopherTalk

__all__ = ["AsyncGopher", "Gopher", "GopherTalk"]
