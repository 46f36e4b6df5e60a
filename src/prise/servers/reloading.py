"""Certificates that are read again while a server goes on: of its listeners, whose layers know their files."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from prise.errors import UsageError
from prise.transports import Listening

log = logging.getLogger("prise")


def reload(listeners: Iterable[Listening]) -> None:
    """Connections that exist are not touched. Raises UsageError, OSError, and then the old ones stay in use."""
    for listening in listeners:
        for factory in listening.layers:
            again = getattr(factory, "reload", None)
            if again is not None:
                again()


def try_to_reload(listeners: Iterable[Listening]) -> None:
    """The same where nobody takes an exception: it is logged."""
    try:
        reload(listeners)
        log.info("the certificates were read again")
    except (UsageError, OSError) as error:
        log.error("the certificates could not be read again, the old ones stay: %(error)s", {"error": error})
