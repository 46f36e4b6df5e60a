"""A certificate for example.org, which everybody here trusts, and conversations to serve with it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from pages.hosts import files
from pages.runner import NAMES, Page
from tls_support import authority, issue


def conversation(connection: Any) -> None:
    for line in connection:
        connection.send(line)


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    own = issue("hosts", (*NAMES.split(), "127.0.0.1"), issuer=authority())
    files(page, cert_pem=own.cert.read_bytes(), key_pem=own.key.read_bytes())
    os.environ["SSL_CERT_FILE"] = str(authority().cert)
    yield {"conversation": conversation, "room": conversation, "page": conversation}
