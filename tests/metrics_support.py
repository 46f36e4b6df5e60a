"""What the tests of metrics and observers share: a server, and scraping it as Prometheus does."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as families

import prise
from blocking_support import PATIENCE

MODELS = ["threads", "processes", "select", "asyncio"]

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def echo(connection: Any) -> None:
    async for line in connection:
        if line == "crash":
            raise RuntimeError("crash")
        if line == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        await connection.send(line)


def listen(model: str = "select", conversation: Any = echo, **options: Any) -> prise.Server:
    limits = options.pop("limits", prise.Limits(linger_time=0.2))
    return prise.listen(
        conversation, "127.0.0.1:0", **{"model": model, "metrics": "127.0.0.1:0", "limits": limits, **options}
    )


def where(server: prise.Server) -> tuple[str, int]:
    assert server.metrics is not None
    return str(server.metrics.host), int(server.metrics.port or 0)


def ask(
    server: prise.Server, target: str = "/metrics", method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, str]:
    """One request by the standard library's client; the response and its body."""
    client = http.client.HTTPConnection(*where(server), timeout=PATIENCE)
    try:
        client.request(method, target, headers=headers)
        response = client.getresponse()
        return response, response.read().decode()
    finally:
        client.close()


def values(told: str) -> Values:
    """What the parser of Prometheus's own library finds."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(told)
        for sample in family.samples
    }


def scraped(server: prise.Server) -> dict[str, float]:
    """The metrics, each as the sum over its labels."""
    found: dict[str, float] = {}
    for (name, _), value in values(ask(server)[1]).items():
        found[name] = found.get(name, 0) + value
    return found


@contextmanager
def bare(server: prise.Server, said: bytes = b"") -> Iterator[socket.socket]:
    """A connection to the metrics that says this and then nothing."""
    with socket.create_connection(where(server), timeout=PATIENCE) as sock:
        sock.sendall(said)
        yield sock


def raw(server: prise.Server) -> socket.socket:
    """A bare connection to the server itself."""
    return socket.create_connection((str(server.address.host), int(server.address.port or 0)), timeout=PATIENCE)


DOCUMENT = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    found = re.findall(rf"```{kind}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found
    return [str(each) for each in found]
