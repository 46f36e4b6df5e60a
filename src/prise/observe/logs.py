"""`JsonLines`: log records as one JSON object a line, for programs that gather logs.

What the library logs is a sentence with named places, filled from a dictionary: `log.info("connection %(connection)d ...",
{"connection": 7, ...})`. So every value has a key of its own here, and the template groups what is alike. What others log with
`extra={...}` is told in the same way.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_OURS = frozenset({"time", "level", "logger", "message", "template", "traceback"})
_USUAL = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
"""The attributes that every record has; all others came with `extra`."""


def written(moment: datetime) -> str:
    """A time in UTC as RFC 3339 has it, to the millisecond: 2026-11-21T18:38:00.120Z."""
    return f"{moment.isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


class JsonLines(logging.Formatter):
    """A formatter for any `logging.Handler`.

    Keys: time (RFC 3339, UTC, milliseconds), level, logger, message (the sentence, in English), template (the same without its
    values), the values under their names, traceback (text) where there is one. A value under one of these names gets a `_`.
    """

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": written(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "template": str(record.msg),
        }
        values = {name: value for name, value in vars(record).items() if name not in _USUAL}
        if isinstance(record.args, Mapping):
            values |= record.args
        for name, value in values.items():
            told[f"{name}_" if name in _OURS else str(name)] = _plain(value)
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            told["traceback"] = record.exc_text
        return json.dumps(told, ensure_ascii=False)


def _plain(value: Any) -> Any:
    """What JSON can say as it is (a float that is no number cannot); everything else as text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and value - value == 0):
        return value
    return str(value)
