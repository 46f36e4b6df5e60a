"""Limits: one frozen value, checked when it is made."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from prise import Limits, UsageError

ALWAYS_ON = {"message_size", "outbox_mark", "outbox_size", "datagram_queue", "linger_time"}
NAMES = [field.name for field in dataclasses.fields(Limits)]
WHOLE = [name for name in NAMES if "time" not in name]


def test_all_are_on_by_default() -> None:
    assert all(getattr(Limits(), name) for name in NAMES)
    assert Limits().message_size == 1024 * 1024


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, "10", True, [], float("nan"), float("inf")])
def test_a_limit_is_a_number_above_zero(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"the limit {name} must be a number above 0"):
        Limits(**{name: value})


@pytest.mark.parametrize("name", NAMES)
def test_none_switches_off_what_can_be_switched_off(name: str) -> None:
    if name in ALWAYS_ON:
        with pytest.raises(UsageError):
            Limits(**{name: None})  # type: ignore[arg-type]
    else:
        assert getattr(Limits(**{name: None}), name) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_counted_is_whole(name: str) -> None:
    with pytest.raises(UsageError, match="must be a whole number"):
        Limits(**{name: 1.5})  # type: ignore[arg-type]


def test_seconds_may_be_fractions() -> None:
    assert Limits(idle_time=0.5, write_time=1).idle_time == 0.5


def test_frozen_and_by_keyword_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Limits().connections = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        Limits(10)  # type: ignore[call-arg]


def test_a_variation_is_made_with_replace() -> None:
    limits = Limits(connections=10)
    assert dataclasses.replace(limits, idle_time=None) == Limits(connections=10, idle_time=None)
    assert len({limits, Limits(connections=10)}) == 1
