"""Dovecot is mail.example.org, with mail for ada."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import prise
from pages.hosts import files, host, mail, mail_with_file
from pages.runner import Page
from real_servers.dovecot import Dovecot


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    with host(page, Dovecot(), 143, 993, 110, 995) as dovecot, prise.open("imaps://ada@mail.example.org/INBOX") as box:
        for number in range(6):
            dovecot.deliver("ada", mail(f"number {number}"))
        box.put(None, mail_with_file(), ["\\Seen"])
        for mailbox in ("Drafts", "Archive"):
            box.create(mailbox)
        files(page, draft_eml=mail("a draft"))
        # New mail comes while the page waits for it.
        timers = [threading.Timer(seconds, lambda: dovecot.deliver("ada", mail("new"))) for seconds in (3, 6, 9, 12)]
        for timer in timers:
            timer.daemon = True
            timer.start()
        try:
            yield {}
        finally:
            for timer in timers:
                timer.cancel()
