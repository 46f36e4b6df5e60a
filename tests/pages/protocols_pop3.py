"""Dovecot is mail.example.org, with mail for ada."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pages.hosts import host, mail
from pages.runner import Page
from real_servers.dovecot import Dovecot


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    with host(page, Dovecot(), 143, 993, 110, 995) as dovecot:
        for number in range(3):
            dovecot.deliver("ada", mail(f"invoice {number}"))
        yield {}
