"""The header fields that go with every answer of a site: nosniff, CORS (what pages of other origins may read), the user's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

from prise.web.request import Request
from prise.web.response import Response, fields_of

Fields: TypeAlias = Sequence[tuple[str, str]]

EXPOSED: Final = "Accept-Ranges, Content-Encoding, Content-Range, ETag"
"""What pages of other origins may see beside the few fields that they always may (Fetch standard, "CORS-safelisted")."""

_LISTS: Final = frozenset(("vary", "link", "set-cookie"))  # several may stand side by side; others replace
_TOKENS: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z, -]{1,1000}")


class Extra:
    """cors: True for any origin, the one origin that may, or False. fields: (name, value), instead of ours of that name.

    Raises UsageError for what cannot be sent or is not the caller's to say (Content-Length, Date).
    """

    def __init__(self, cors: bool | str = False, fields: Fields = ()) -> None:
        self.cors = "*" if cors is True else cors or ""
        own: list[tuple[str, str]] = [("X-Content-Type-Options", "nosniff")]
        if self.cors:
            own += [("Access-Control-Allow-Origin", self.cors), ("Access-Control-Expose-Headers", EXPOSED)]
        fields_of(Response(headers=[*own, *fields]), ())  # which checks them
        named = _names(fields)
        self.fields = (*(each for each in own if each[0].lower() not in named), *fields)
        self._names = _names(self.fields)

    def added(self, fields: Fields) -> Fields:
        """These fields, those of the same names left out, and ours."""
        names = self._names
        return [*(each for each in fields if each[0].lower() not in names), *self.fields]

    def preflight(self, request: Request, allow: str) -> Fields:
        """What a browser wants to know before it sends another origin's page's request. Nothing when it does not ask."""
        if not self.cors or "access-control-request-method" not in request.headers:
            return ()
        answer = [("Access-Control-Allow-Methods", allow), ("Access-Control-Max-Age", "600")]
        wanted = request.headers.get("access-control-request-headers", "")
        if _TOKENS.fullmatch(wanted):
            answer += [("Access-Control-Allow-Headers", wanted), ("Vary", "Access-Control-Request-Headers")]
        return answer


def _names(fields: Fields) -> frozenset[str]:
    return frozenset(name.lower() for name, _ in fields) - _LISTS
