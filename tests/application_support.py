"""A folder that is served with everything `prise web` does, and http.client to ask it."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from prise.web.application import Application
from site_support import PATIENCE, Served, served


class Said(NamedTuple):
    """headers: names in lower case. body: whole, without chunks."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Folder(Served):
    """What `folder` gives. ask: one request on a connection of its own."""

    application: Application

    def ask(  # type: ignore[override]
        self, path: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Said:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            return Said(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


@contextmanager
def folder(root: Path, **options: Any) -> Iterator[Folder]:
    options.setdefault("keep_free", 0)
    application = Application(root, **options)
    with served(application) as running:
        found = Folder(running.port)
        found.application = application
        yield found
