"""Dovecot is mail.example.org, with three messages for ada."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pages.hosts import host, mail
from real_servers.dovecot import Dovecot

if TYPE_CHECKING:
    from pages.runner import Page


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[None]:
    dovecot = Dovecot()
    with host(page, dovecot, 143, 993, 110, 995):
        for subject in ("Hello", "Figures", "Invoice"):
            dovecot.deliver("ada", mail(subject))
        yield
