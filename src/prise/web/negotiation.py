"""What a client would rather have: the fields Accept and Accept-Language (RFC 9110 §12.5), and the query of a target."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl

_ELEMENT: Final = re.compile(r"[\t ]*([^\s;,]+)[\t ]*(?:;[^,]*?q=([0-9.]{1,5})[^,]*|;[^,]*)?", re.IGNORECASE)
_MOST: Final = 50  # elements of a field that are looked at


@lru_cache(256)
def _qualities(field: str) -> dict[str, float]:
    qualities = {}
    for element in field.split(",")[:_MOST]:
        match = _ELEMENT.fullmatch(element)
        if match:
            try:
                qualities[match[1].lower()] = float(match[2] or 1)
            except ValueError:
                continue
    return qualities


def media_type(field: str, offered: Sequence[str]) -> str:
    """The best of the offered media types for this Accept field; the first one where the client has no wish."""
    qualities = _qualities(field)

    def quality(kind: str) -> float:
        for name in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
            if name in qualities:
                return qualities[name]
        return 0.0

    return max(offered, key=quality)  # the first of equals


def language(field: str, offered: Sequence[str]) -> str:
    """The best of the offered languages ("en", "fr") for this Accept-Language field; the first one where there is no wish."""
    qualities = _qualities(field)

    def quality(code: str) -> float:
        known = [value for name, value in qualities.items() if name == code or name.startswith(f"{code}-")]
        return max(known, default=qualities.get("*", 0.0))

    return max(offered, key=quality)


@lru_cache(256)
def _query(query: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST))
    except ValueError:  # too many
        return ()


def parameters(query: str) -> dict[str, str]:
    """The parameters of a target's query; of equal names the last one counts. A name without a value has ""."""
    return dict(_query(query))
