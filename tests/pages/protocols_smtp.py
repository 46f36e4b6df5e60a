"""Exim is mail.example.org, and takes mail for the users of a Dovecot beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pages.hosts import files, host, mail
from pages.runner import Page
from real_servers import exim
from real_servers.dovecot import Dovecot


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    exim.CONFIGURATION = exim.CONFIGURATION.replace("members.test", "example.org").replace(
        "!authenticated = *", "!domains = *"
    )
    exim.CONFIGURATION = exim.CONFIGURATION.replace(r"\N^u\d*$\N", r"\N^ada$\N")
    with host(page, Dovecot(), 143, 993, 110, 995) as dovecot:
        for user in ("ada", "ben"):
            dovecot.deliver(user, mail())
        with host(page, exim.Exim(dovecot), 25, 465):
            (page.folder / "drafts").mkdir()
            for place in ("letter.eml", "drafts/one.eml", "drafts/two.eml"):
                (page.folder / place).write_bytes(mail().replace(b"To: ada", b"To: ben"))
            files(page, text_txt="A few words.\n", report_pdf=b"%PDF", figures_pdf=b"%PDF")
            yield {}
            assert len(dovecot.messages("ben")) > 5
