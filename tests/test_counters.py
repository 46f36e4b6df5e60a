"""What is counted, and what `server.stats()` makes of it."""

from __future__ import annotations

import dataclasses

import pytest

from prise.core.counters import FIELDS, Counters, Stats


def test_counters_start_at_zero_and_keep_their_order() -> None:
    assert Counters().values() == (0,) * len(FIELDS)
    assert Counters(range(len(FIELDS))).values() == tuple(range(len(FIELDS)))
    assert Counters([7]).accepted == 7


def test_there_is_no_room_for_a_misspelt_counter() -> None:
    with pytest.raises(AttributeError):
        Counters().acepted = 1  # type: ignore[attr-defined]


def test_sums_over_several_owners() -> None:
    one, other = Counters(), Counters()
    one.accepted, one.bytes_sent, other.accepted, other.error_lost = 2, 100, 3, 1
    total = Counters.sum([one, other])
    assert (total.accepted, total.bytes_sent, total.error_lost) == (5, 100, 1)
    assert one.accepted == 2, "the parts are untouched"
    assert Counters.sum([]).values() == (0,) * len(FIELDS)


def test_stats_are_what_people_read() -> None:
    counters = Counters()
    counters.accepted, counters.closed = 10, 4
    counters.refused_per_peer, counters.refused_resources = 1, 2
    counters.messages_received, counters.messages_sent = 20, 30
    counters.bytes_received, counters.bytes_sent = 200, 300
    counters.error_conversation, counters.error_frame, counters.error_too_slow, counters.error_lost = 5, 6, 7, 8
    stats = Stats.of(counters)
    assert stats == Stats(
        open=6,
        total=10,
        refused={"per_peer": 1, "resources": 2, "sessions": 0},
        messages_received=20,
        messages_sent=30,
        bytes_received=200,
        bytes_sent=300,
        errors={"conversation": 5, "frame": 6, "handshake": 0, "too_slow": 7, "lost": 8},
        dropped={"queue": 0, "too_large": 0, "malformed": 0, "amplification": 0},
    )
    counters.accepted += 1
    assert stats.total == 10, "a snapshot"
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.open = 0  # type: ignore[misc]
