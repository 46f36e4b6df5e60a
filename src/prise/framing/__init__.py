"""Framings: where one message ends and the next begins. One file for each; `framing_of` finds them by name."""

from __future__ import annotations

from prise.framing.base import MOST_MESSAGES, Codec, Decoder, Framing
from prise.framing.chunks import Chunks
from prise.framing.cobs import Cobs
from prise.framing.delimited import Delimited
from prise.framing.fixed import Fixed
from prise.framing.lines import Lines
from prise.framing.names import framing_of
from prise.framing.netstring import Netstring
from prise.framing.prefixed import Prefixed
from prise.framing.slip import Slip
from prise.framing.varint import Varint

__all__ = [
    "MOST_MESSAGES",
    "Chunks",
    "Cobs",
    "Codec",
    "Decoder",
    "Delimited",
    "Fixed",
    "Framing",
    "Lines",
    "Netstring",
    "Prefixed",
    "Slip",
    "Varint",
    "framing_of",
]
