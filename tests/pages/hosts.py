"""The real servers of the tests, as the hosts of the pages: `mail.example.org` and others, on their standard ports, with
certificates that carry these names. The pages' user is ada, whose password is in `~/.netrc`, as prise looks for it."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import real_servers.base
import tls_support
from real_servers.base import RealServer

if TYPE_CHECKING:
    from pages.runner import Page

Server = TypeVar("Server", bound=RealServer)

USER, PASSWORD = "ada", "pw"
NETRC = "".join(
    f"machine {host} login {USER} password {PASSWORD}\n"
    for host in (
        "mail.example.org",
        "news.example.org",
        "ftp.example.org",
        "router.example.org",
        "example.org",
        "localhost",
    )
)


@contextlib.contextmanager
def host(page: Page, server: Server, *ports: int) -> Iterator[Server]:
    """Runs a server on these ports, in the order in which it asks for them, and makes everybody here trust its certificate."""
    from pages.runner import NAMES

    names = functools.cache(
        lambda: tls_support.issue("hosts", (*NAMES.split(), "127.0.0.1"), issuer=tls_support.authority())
    )
    real_servers.base.localhost = names  # type: ignore[attr-defined]
    given = iter(ports)
    server.free_port = lambda: next(given)  # type: ignore[method-assign]
    server.user = USER
    netrc = page.folder / ".netrc"
    netrc.write_text(NETRC)
    netrc.chmod(0o600)
    for environment in (page.environment, os.environ):
        environment.update(SSL_CERT_FILE=str(server.ca), HOME=str(page.folder))
    try:
        with server:
            yield server
    finally:
        tls_support.folder.keeper.cleanup()  # type: ignore[attr-defined]


def mail(subject: str = "Hello", more: str = "", body: str = "A few words.\n") -> bytes:
    head = (
        f"From: Bob <bob@example.org>\nTo: ada@example.org\nSubject: {subject}\nDate: Sat, 21 Nov 2026 10:00:00 +0000\n"
    )
    return (head + more + "\n" + body).replace("\n", "\r\n").encode()


def mail_with_file(size: int = 1_000_000) -> bytes:
    """With a text and a PDF of so many bytes."""
    bound = "Content-Type: multipart/mixed; boundary=cut\nMIME-Version: 1.0\n"
    file = "JVBE" * (size // 3)
    lines = "\n".join(file[start : start + 76] for start in range(0, len(file), 76))
    parts = (
        "--cut\nContent-Type: text/plain\n\nSee the file.\n--cut\nContent-Type: application/pdf; name=a.pdf\n"
        f"Content-Disposition: attachment; filename=a.pdf\nContent-Transfer-Encoding: base64\n\n{lines}\n--cut--\n"
    )
    return mail("invoice", bound, parts)


def files(page: Page, **contents: bytes | str) -> None:
    """Files in the page's folder; `_` in a name stands for the dot."""
    for name, content in contents.items():
        path = Path(page.folder, name.replace("_", "."))
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
