"""Relaying: two addresses joined, for as many as come; looked on, recorded and played again."""

from prise.relay.passage import Passage, Tap
from prise.relay.relay import Relay

__all__ = ["Passage", "Relay", "Tap"]
