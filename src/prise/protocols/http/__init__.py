"""HTTP/1.1 (RFC 9110, 9112) and HTTP/2 (RFC 9113): files, folders and whatever else has a URL.

    with prise.open("https://example.org/files/") as web:
        for entry in web.list():
            print(entry.name, entry.size)
        web.get("report.pdf").save("report.pdf")
        print(web.post("/api/items", json={"name": "cable"}).json())

    client.py                     what a session can do: list, get, put, request, fetch...
    exchange.py                   one request to its answer: the link, redirects, logins, cookies
    http1.py http2.py             the same methods: a request goes out, the head and the pieces of its answer come in
    message.py body.py            what goes over the wire       login.py cookies.py listing.py   one thing each

It is written on the same steps as the other protocols, because the libraries that there are own their sockets: with niquests or
httpx there would be no Unix sockets, proxies and TLS policies as everywhere else in prise, and no deadline for an answer that
comes byte by byte. It needs no package; HTTP/2 needs `h2`, which does no I/O either.
"""

from __future__ import annotations

from prise.protocols.http.client import HTTPTalk
from prise.protocols.http.message import Headers, Response
from prise.protocols.session import AsyncSession, Session

__all__ = ["HTTP", "AsyncHTTP", "HTTPTalk", "Headers", "Response"]


class HTTP(HTTPTalk, Session):
    """A blocking HTTP session."""


class AsyncHTTP(HTTPTalk, AsyncSession):
    """An asynchronous HTTP session."""
