"""Telnet: terminal.py is the client's side of the protocol and searching.py what scripts wait for, both without I/O; session.py
is what `prise.open("telnet://...")` gives."""

from __future__ import annotations

from prise.protocols.telnet.searching import Match
from prise.protocols.telnet.session import AsyncTelnet, Telnet, TelnetTalk

__all__ = ["AsyncTelnet", "Match", "Telnet", "TelnetTalk"]
