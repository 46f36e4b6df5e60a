"""Who types http:// where https:// is spoken is told so, or led there; and nobody else hears anything in clear."""

from __future__ import annotations

import socket
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prise
from prise.layers.tlserrors import in_clear
from tls_support import server_tls

PATIENCE = 10.0


async def echo(connection: prise.AsyncConnection) -> None:
    async for line in connection:
        await connection.send(line)


def answer(server: prise.Server, request: bytes) -> bytes:
    where = (str(server.address.host), int(server.address.port or 0))
    with socket.create_connection(where, timeout=PATIENCE) as client:
        client.sendall(request)
        said = b""
        try:
            while data := client.recv(4096):
                said += data
        except ConnectionResetError:
            pass
        return said


@pytest.mark.parametrize("model", ["asyncio", "select", "threads"])
def test_a_request_is_led_to_https(model: str) -> None:
    with prise.listen(echo, "tls:127.0.0.1:0", tls=server_tls(), model=model) as server:
        said = answer(server, b"GET /room?x=1 HTTP/1.1\r\nAccept: */*\r\nHost: chat.example:8443\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 308 ")
        assert b"\r\nLocation: https://chat.example:8443/room?x=1\r\n" in said
        said = answer(server, b"GET / HTTP/1.0\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 400 ")
        assert said.endswith(b"https://\n")
        assert answer(server, b"hello\n") == b""


def test_curl_follows() -> None:
    with prise.listen(echo, "tls:127.0.0.1:0", tls=server_tls(), model="asyncio") as server:
        url = f"http://127.0.0.1:{server.address.port}/a"
        shown = subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", url],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        assert shown.stdout == f"308 https://127.0.0.1:{server.address.port}/a"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET //evil.example/ HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\r\nSet-Cookie:x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    ],
)
def test_nobody_is_led_elsewhere_than_to_the_host_that_they_named(request_: bytes) -> None:
    said = in_clear(request_)
    for line in said.split(b"\r\n"):
        if line.startswith(b"Location:"):
            assert line.startswith(b"Location: https://a/")


@given(st.one_of(st.binary(max_size=300), st.from_regex(rb"GET /[^ ]{0,20} HTTP/1\.1\r\nHost: [^\0]{0,20}\r\n\r\n")))
def test_whatever_comes_the_answer_is_one_head_and_one_line(data: Any) -> None:
    said = in_clear(data)
    if said:
        head, gap, body = said.partition(b"\r\n\r\n")
        assert gap
        assert head.count(b"\r\n") in (3, 4)
        assert body == b"this port speaks TLS: the address begins with https://\n"
