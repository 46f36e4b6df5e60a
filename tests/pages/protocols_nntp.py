"""INN is news.example.org, with articles in three groups, one of them a file in yEnc."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import prise
from pages.hosts import files, host
from pages.runner import Page
from real_servers import inn

ACTIVE = {"comp.lang.python": 4710, "misc.test": 0, "alt.binaries.test": 100}
"""Group -> the number of the last article before ours."""


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    inn.WRITABLE += tuple(ACTIVE)
    with host(page, News(), 119, 563, 1190, 1191):
        with prise.open("nntps://ada@news.example.org/") as news:
            news.put("comp.lang.python", article("comp.lang.python", "abc@example.org", "Hello", b"A few words.\r\n"))
            for part in (1, 2, 3):
                body = yenc(bytes([part]) * 10, part)
                news.put("alt.binaries.test", article("alt.binaries.test", f"{part}@example.org", "photo.jpg", body))
        page.environment["NNTPSERVER"] = "news.example.org"
        files(page, article_txt="From: ada@example.org\nNewsgroups: misc.test\nSubject: A try\n\nHello\n")
        warnings.filterwarnings("ignore", "'nntplib' is deprecated")  # where Python still has it
        yield {}


class News(inn.Inn):
    """With articles that bear the numbers of the page."""

    def write(self, name: str, data: bytes | str, mode: int = 0o644) -> Any:
        if name == "db/active" and isinstance(data, str):
            for group, last in ACTIVE.items():
                data = data.replace(f"{group} 0000000000 0000000001", f"{group} {last:010} {last + 1:010}")
        return super().write(name, data, mode)


def article(group: str, identity: str, subject: str, body: bytes) -> bytes:
    head = f"From: bob@example.org\r\nNewsgroups: {group}\r\nSubject: {subject}\r\nMessage-ID: <{identity}>\r\n\r\n"
    return head.encode() + body


def yenc(data: bytes, part: int) -> bytes:
    """One of three parts of ten bytes."""
    begin = (part - 1) * 10
    head = (
        f"=ybegin part={part} total=3 line=128 size=30 name=photo.jpg\r\n=ypart begin={begin + 1} end={begin + 10}\r\n"
    )
    encoded = bytes((byte + 42) % 256 for byte in data)
    return head.encode() + encoded + f"\r\n=yend size=10 part={part}\r\n".encode()
