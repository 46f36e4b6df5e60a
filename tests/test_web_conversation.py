"""The HTTP/1.1 server at work on real sockets: http.client, curl and hand-written bytes ask, small handlers answer."""

from __future__ import annotations

import asyncio
import http.client
import logging
import os
import random
import re
import socket
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

import prise
from peers import need
from prise.web.conversation import LIMITS, Body, Exchange, http_branch
from prise.web.framing import HttpError
from prise.web.request import Request
from prise.web.response import FilePart, Ready, Response, plain, ready
from tls_support import authority, server_tls

FAST = replace(LIMITS, linger_time=0.5)
MODELS = ["asyncio", "select", "threads"]
PATIENCE = 10.0
CLOSE = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


async def hello(request: Request, body: Body) -> Response:
    return plain(200, f"{request.method} {request.path}")


async def echo(request: Request, body: Body) -> Response:
    return Response(200, (("Content-Type", "application/octet-stream"),), await body.read(1024 * 1024))


@contextmanager
def served(
    handler: Any, *, model: str = "asyncio", limits: prise.Limits = FAST, drain_time: float = 10.0, **options: Any
) -> Iterator[int]:
    """A server of this handler; the port."""
    conversation, framing = http_branch(handler, **options)
    with prise.listen(
        conversation, "127.0.0.1:0", framing=framing, model=model, limits=limits, drain_time=drain_time
    ) as server:
        yield int(server.addresses[0].port or 0)


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def rest(sock: socket.socket) -> bytes:
    """All that comes until the server ends it."""
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def said(port: int, data: str | bytes) -> bytes:
    """What the server says to these bytes, until it closes: the last request must ask for that, or be refused."""
    with dial(port) as sock:
        sock.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
        return rest(sock)


def statuses(data: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) [A-Z]", data)]


@contextmanager
def client(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        yield connection
    finally:
        connection.close()


def asked(
    connection: http.client.HTTPConnection, method: str, path: str, **options: Any
) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request(method, path, **options)
    response = connection.getresponse()
    return response, response.read()


class Noted:
    """Collects what it is called with; other threads may wait until there is so much."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, each: Any = None) -> None:
        with self._changed:
            self.all.append(each)
            self._changed.notify_all()

    def wait(self, count: int = 1) -> list[Any]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.all) >= count, PATIENCE), self.all
            return self.all


# -- requests and answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_several_requests_on_one_connection(model: str) -> None:
    with served(hello, model=model) as port, client(port) as connection:
        response, body = asked(connection, "GET", "/a")
        sock = connection.sock
        assert (response.status, response.version, body) == (200, 11, b"GET /a\n")
        assert response.headers["Server"] == "prise"
        assert response.headers["Content-Length"] == "7"
        assert response.headers["Connection"] is None
        assert parsedate_to_datetime(response.headers["Date"]).tzinfo is not None
        assert asked(connection, "BREW", "/b")[1] == b"BREW /b\n"
        assert connection.sock is sock


@pytest.mark.parametrize("model", MODELS)
def test_pipelined_requests_are_answered_in_their_order(model: str) -> None:
    requests = "".join(f"GET /{number} HTTP/1.1\r\nHost: h\r\n\r\n" for number in range(100)) + CLOSE
    with served(hello, model=model) as port:
        answer = said(port, requests)
    assert statuses(answer) == [200] * 101
    assert [line for line in answer.split(b"\n") if line.startswith(b"GET ")] == [
        *(b"GET /%d" % number for number in range(100)),
        b"GET /last",
    ]


def test_answers_keep_their_order_when_the_first_takes_longest() -> None:
    released = threading.Event()

    async def slow(request: Request, body: Body) -> Response:
        if request.path == "/slow":
            await asyncio.to_thread(released.wait, PATIENCE)
        else:
            released.set()  # never while /slow is being answered
        return plain(200, request.path)

    with served(slow) as port, dial(port) as sock:
        sock.sendall(f"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n{CLOSE}".encode())
        with dial(port) as other:
            other.sendall(CLOSE.encode())
            assert statuses(rest(other)) == [200]
        answer = rest(sock)
    assert answer.index(b"/slow\n") < answer.index(b"/last\n")


def test_head_has_the_length_and_no_body() -> None:
    with served(hello) as port:
        answer = said(port, f"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n{CLOSE}")
        with client(port) as connection:
            response, body = asked(connection, "HEAD", "/a")
            assert (response.headers["Content-Length"], body) == ("8", b"")
            assert asked(connection, "GET", "/a")[1] == b"GET /a\n"
    assert b"HEAD" not in answer


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(status: int) -> None:
    async def handler(request: Request, body: Body) -> Response:
        return Response(status, (("ETag", '"1"'),), b"not sent") if request.path == "/" else plain(200, "next")

    with served(handler) as port, client(port) as connection:
        response, body = asked(connection, "GET", "/")
        assert (response.status, body, response.headers["ETag"]) == (status, b"", '"1"')
        assert response.headers["Content-Length"] is None
        assert asked(connection, "GET", "/x")[1] == b"next\n"


def test_an_unusual_status_and_no_server_field() -> None:
    async def handler(request: Request, body: Body) -> Response:
        return Response(299)

    with served(handler, server=None) as port, client(port) as connection:
        response, _ = asked(connection, "GET", "/")
        assert (response.status, response.headers["Server"], response.headers["Content-Length"]) == (299, None, "0")


def test_http_1_0_gets_a_closed_connection_unless_it_asks() -> None:
    with served(hello) as port:
        answer = said(port, "GET /a HTTP/1.0\r\n\r\n")
        assert b"Connection: close\r\n" in answer
        assert answer.endswith(b"\r\n\r\nGET /a\n")
        both = said(port, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n")
    assert statuses(both) == [200, 200]
    assert both.count(b"Connection: keep-alive\r\n") == 1
    assert both.count(b"Connection: close\r\n") == 1


def test_a_tunnel_is_never_opened() -> None:
    with served(hello) as port:
        answer = said(port, "CONNECT far:443 HTTP/1.1\r\nHost: far:443\r\n\r\n")
    assert statuses(answer) == [501]


def test_each_request_has_the_host_it_names() -> None:
    async def handler(request: Request, body: Body) -> Response:
        return plain(200, request.host)

    with served(handler) as port, client(port) as connection:
        assert asked(connection, "GET", "/", headers={"Host": "a.example"})[1] == b"a.example\n"
        assert asked(connection, "GET", "/", headers={"Host": "b.example"})[1] == b"b.example\n"


def test_one_port_with_other_protocols() -> None:
    async def lines(connection: Any) -> None:
        async for line in connection:
            await connection.send(f"you said {line}")

    with prise.listen(prise.Multiplex(http=http_branch(hello), lines=lines), "127.0.0.1:0", limits=FAST) as server:
        port = int(server.addresses[0].port or 0)
        with client(port) as connection:
            assert asked(connection, "GET", "/a")[1] == b"GET /a\n"
            assert asked(connection, "GET", "/b")[1] == b"GET /b\n"
        with dial(port) as sock:
            sock.sendall(b"GET a life!\n")
            assert sock.recv(100) == b"you said GET a life!\n"


def test_inside_tls(tmp_path: Path) -> None:
    need("curl")
    path = tmp_path / "file"
    path.write_bytes(os.urandom(500_000))

    async def handler(request: Request, body: Body) -> Response:
        file = path.open("rb")
        fields = (("X-Secure", str(body.secure)), ("X-Peer", body.peer.host or ""))
        return Response(200, fields, [FilePart(file.fileno(), 0, 500_000)], file.close)

    conversation, framing = http_branch(handler)
    with prise.listen(conversation, "tls:127.0.0.1:0", framing=framing, limits=FAST, tls=server_tls()) as server:
        url = f"https://localhost:{server.addresses[0].port}/"
        argv = ["curl", "-sS", "--cacert", str(authority().cert), "-D", "head", "--max-time", "10", url, url]
        result = subprocess.run(argv, capture_output=True, timeout=20, check=True, cwd=tmp_path)
    assert result.stdout == path.read_bytes() * 2
    head = (tmp_path / "head").read_text()
    assert head.count("X-Secure: True") == head.count("X-Peer: 127.0.0.1") == 2


# -- bodies of requests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 500_000])
def test_bodies_arrive_whole(model: str, size: int) -> None:
    data = random.Random(size).randbytes(size)
    with served(echo, model=model) as port, client(port) as connection:
        assert asked(connection, "POST", "/", body=data)[1] == data
        pieces = (data[start : start + 7000] for start in range(0, size, 7000))
        headers = {"Transfer-Encoding": "chunked"}
        assert asked(connection, "POST", "/", body=pieces, headers=headers, encode_chunked=True)[1] == data


def test_curl_sends_and_receives_chunks(tmp_path: Path) -> None:
    need("curl")

    async def mirror(request: Request, body: Body) -> Response:
        return Response(200, (), body.__aiter__())  # while it comes

    data = os.urandom(2_000_000)
    (tmp_path / "file").write_bytes(data)
    with served(mirror) as port:
        for options in (
            ["-T", "-"],
            ["-T", "file"],
            ["-T", "file", "-H", "Expect: 100-continue"],
            ["-0", "-T", "file"],
        ):
            argv = ["curl", "-sS", "--max-time", "10", *options, f"http://127.0.0.1:{port}/"]
            result = subprocess.run(argv, input=data, capture_output=True, timeout=20, check=False, cwd=tmp_path)
            assert (result.returncode, result.stderr) == (0, b"")
            assert result.stdout == data


def test_a_client_that_waits_is_told_to_go_on_when_the_body_is_read() -> None:
    head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    with served(echo) as port, dial(port) as sock:
        sock.sendall(head.encode())
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hello" + CLOSE.encode())
        answer = rest(sock)
        assert statuses(answer) == [200, 200]
        assert b"hello" in answer


def test_a_client_that_waits_in_vain_gets_its_answer_and_the_end() -> None:
    head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    with served(hello) as port:
        answer = said(port, head)  # nobody could tell whether the body comes: hence the end
    assert statuses(answer) == [200]
    assert b"Connection: close\r\n" in answer


def test_too_long_for_the_handler() -> None:
    async def small(request: Request, body: Body) -> Response:
        return plain(200, str(len(await body.read(10))))

    with served(small) as port:
        with client(port) as connection:
            assert asked(connection, "POST", "/", body=b"x" * 10)[1] == b"10\n"
            response, body = asked(connection, "POST", "/", body=b"x" * 11)
            assert (response.status, body) == (413, b"the body is longer than 10 bytes\n")
            assert asked(connection, "GET", "/")[1] == b"0\n"  # what was not wanted was read away
            chunks = asked(connection, "POST", "/", body=iter([b"x" * 6, b"x" * 6]), encode_chunked=True)
            assert chunks[0].status == 413
        waiting = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n"
        assert statuses(said(port, waiting)) == [413]  # and no 100: it need not send the body at all


def test_too_long_for_the_server() -> None:
    with served(echo, longest_body=10) as port:
        assert statuses(said(port, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n")) == [413]
        assert statuses(said(port, chunked_post("b\r\nhello world\r\n"))) == [413]


def chunked_post(body: str) -> str:
    return f"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{body}"


@pytest.mark.parametrize("kind", ["sized", "chunked"])
def test_a_body_that_nobody_reads_does_not_become_a_request(kind: str) -> None:
    hidden = "GET /admin HTTP/1.1\r\nHost: h\r\n\r\n"
    if kind == "sized":
        data = f"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {len(hidden)}\r\n\r\n{hidden}"
    else:
        data = chunked_post(f"{len(hidden):x}\r\n{hidden}\r\n0\r\n\r\n")
    with served(hello) as port:
        answer = said(port, data + CLOSE)
    assert statuses(answer) == [200, 200]
    assert b"admin" not in answer


def test_a_long_body_that_nobody_reads_ends_the_connection() -> None:
    with served(hello) as port:
        answer = said(port, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        assert statuses(answer) == [200]
        assert b"Connection: close\r\n" in answer  # said, because it is known
        with dial(port) as sock:
            sock.sendall(chunked_post("40000\r\n").encode() + b"x" * 0x40000 + b"\r\n")
            sock.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            answer = rest(sock)
            assert statuses(answer) == [200]


def test_a_body_that_breaks_the_rules_or_ends_early_is_refused_and_nothing_behind_it_is_heard() -> None:
    with served(echo) as port:
        assert statuses(said(port, chunked_post(f"5\r\nhelloX\r\n{CLOSE}"))) == [400]
        with dial(port) as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhell")
            sock.shutdown(socket.SHUT_WR)
            assert statuses(rest(sock)) == [400]
    with served(hello) as port:  # which has answered before it could know
        assert statuses(said(port, chunked_post(f"5\r\nhelloX\r\n{CLOSE}"))) == [200]


# -- bodies of answers --------------------------------------------------------------------------------------------------------


async def numbers(request: Request, body: Body) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"%d" % number * 1000
            yield b""

    return Response(200, (), pieces())


@pytest.mark.parametrize("model", MODELS)
def test_what_is_made_while_it_is_sent_goes_in_chunks(model: str) -> None:
    expected = b"".join(b"%d" % number * 1000 for number in range(5))
    with served(numbers, model=model) as port:
        with client(port) as connection:
            response, body = asked(connection, "GET", "/")
            assert (response.headers["Transfer-Encoding"], body) == ("chunked", expected)
            response, body = asked(connection, "HEAD", "/")
            assert (response.headers["Transfer-Encoding"], body) == ("chunked", b"")
            assert asked(connection, "GET", "/")[1] == expected
        head, _, body = said(port, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").partition(b"\r\n\r\n")
        assert body == expected  # up to the end of the connection
        assert b"Transfer-Encoding" not in head
        assert b"Connection: close" in head


@pytest.mark.parametrize("model", MODELS)
def test_parts_of_files(model: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    data = os.urandom(2_000_000)
    path.write_bytes(data)
    closed = Noted()

    async def handler(request: Request, body: Body) -> Response:
        file = path.open("rb")

        def close() -> None:
            file.close()
            closed()

        descriptor = file.fileno()
        parts: list[bytes | FilePart] = [
            b"<",
            FilePart(descriptor, 10, 20),
            b"|",
            FilePart(descriptor, 0, 0),
            FilePart(descriptor, 0, len(data)),
        ]
        return Response(200, (), [*parts, b">"], close)

    with served(handler, model=model) as port, client(port) as connection:
        for _ in range(2):
            response, body = asked(connection, "GET", "/")
            assert response.headers["Content-Length"] == str(len(data) + 23)
            assert body == b"<" + data[10:30] + b"|" + data + b">"
        assert asked(connection, "HEAD", "/")[1] == b""
        assert asked(connection, "HEAD", "/")[1] == b""
        assert len(closed.wait(3)) in (3, 4)


@pytest.mark.parametrize("model", MODELS)
def test_a_file_that_became_shorter_breaks_the_connection(model: str, caplog: pytest.LogCaptureFixture) -> None:
    closed = Noted()
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 1000)
        file.flush()

        async def handler(request: Request, body: Body) -> Response:
            return Response(200, (), [FilePart(file.fileno(), 0, 2000)], closed)

        with served(handler, model=model) as port, client(port) as connection:
            with pytest.raises((http.client.HTTPException, ConnectionError)):
                asked(connection, "GET", "/")
            closed.wait()
    assert "the answer to GET '/'" in caplog.text
    assert len(closed.all) == 1


@pytest.mark.parametrize("size", [60_000, 5_000_000])
def test_long_answers_from_memory(size: int) -> None:
    data = os.urandom(size)

    async def handler(request: Request, body: Body) -> Response:
        return Response(200, (), data if request.path == "/" else [data[:10], data[10:]])

    with served(handler) as port, client(port) as connection:
        assert asked(connection, "GET", "/")[1] == data
        assert asked(connection, "GET", "/parts")[1] == data


def test_ready_answers_cost_no_handler() -> None:
    hot = ready(Response(200, (("ETag", '"1"'),), b"hot"))
    hot_head = ready(Response(200, (("ETag", '"1"'),), b"hot"), head=True)
    noted = Noted()

    def quick(request: Request) -> Ready | None:
        if request.path == "/broken":
            raise RuntimeError("a broken cache")
        if request.path != "/hot":
            return None
        return hot_head if request.method == "HEAD" else hot

    with served(hello, quick=quick, log=noted) as port:
        with client(port) as connection:
            response, body = asked(connection, "GET", "/hot")
            assert (response.status, body, response.headers["ETag"]) == (200, b"hot", '"1"')
            assert response.headers["Server"] == "prise"
            assert "Date" in response.headers
            response, body = asked(connection, "HEAD", "/hot")
            assert (response.headers["Content-Length"], body) == ("3", b"")
            assert asked(connection, "GET", "/cold")[1] == b"GET /cold\n"
            assert asked(connection, "GET", "/broken")[1] == b"GET /broken\n"
            assert asked(connection, "GET", "/hot", body=b"body")[1] == b"GET /hot\n"
        assert b"GET /hot\n" in said(port, "GET /hot HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert [(each.status, each.sent) for each in noted.all[:2]] == [(200, 3), (200, 0)]


def test_what_can_be_made_ready() -> None:
    assert ready(Response(304, (), b"x")).rest == b"\r\n"
    with pytest.raises(prise.UsageError, match="only an answer whose body is bytes"):
        ready(Response(200, (), [b"x"]))


# -- what goes wrong ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ("hello\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: h\n\n", 400),
        ("GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        (f"GET /{'a' * 20_000} HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (f"GET / HTTP/1.1\r\nHost: h\r\nX: {'a' * 20_000}\r\n\r\n", 431),
        ("GET / HTTP/1.1\r\nHost: h\r\nExpect: coffee\r\n\r\n", 417),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
@pytest.mark.parametrize("model", MODELS)
def test_refused_requests_get_their_status_and_the_end(data: str, status: int, model: str) -> None:
    noted = Noted()
    with served(hello, model=model, log=noted) as port:
        answer = said(port, data)
        before = said(port, f"GET /a HTTP/1.1\r\nHost: h\r\n\r\n{data}")
        noted.wait(3)
    assert statuses(answer) == [status]
    assert b"\r\nConnection: close\r\n" in answer
    assert statuses(before) == [200, status]  # in order, whatever the second is
    assert {(each.status, each.request is None) for each in noted.all} == {(200, False), (status, True)}


@pytest.mark.parametrize("model", MODELS)
def test_a_slow_head_gets_408(model: str) -> None:
    with served(hello, model=model, limits=replace(FAST, message_time=0.3)) as port, dial(port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n")
        assert statuses(rest(sock)) == [408]


@pytest.mark.parametrize("model", MODELS)
def test_silence_between_requests_ends_without_a_word(model: str) -> None:
    with served(hello, model=model, limits=replace(FAST, idle_time=0.3)) as port, dial(port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert statuses(rest(sock)) == [200]


def test_a_slow_body_gets_408() -> None:
    with served(echo, limits=replace(FAST, message_time=0.3)) as port, dial(port) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhell")
        assert statuses(rest(sock)) == [408]


@pytest.mark.parametrize("model", MODELS)
def test_a_handler_that_fails_is_a_500_and_the_next_request_is_answered(
    model: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: Request, body: Body) -> Response:
        if request.path == "/secret":
            raise RuntimeError("the password is swordfish")
        if request.path == "/nothing":
            return None  # type: ignore[return-value]
        if request.path == "/teapot":
            raise HttpError("short and stout", status=418)
        return plain(200, "well")

    with served(handler, model=model) as port, client(port) as connection:
        response, body = asked(connection, "POST", "/secret", body=b"not read")
        assert (response.status, body) == (500, b"Internal Server Error\n")
        assert asked(connection, "GET", "/nothing")[0].status == 500
        response, body = asked(connection, "GET", "/teapot")
        assert (response.status, body) == (418, b"short and stout\n")
        assert asked(connection, "GET", "/")[1] == b"well\n"
    failures = [record for record in caplog.records if record.name == "prise.web"]
    assert [record.levelno for record in failures] == [logging.ERROR] * 2
    assert "swordfish" in caplog.text
    assert failures[0].exc_info is not None


@pytest.mark.parametrize(
    "response",
    [
        Response(200, (("X", "a\r\nSet-Cookie: evil=1"),)),
        Response(200, (("X", "a\nb"),)),
        Response(200, (("X", "a\0b"),)),
        Response(200, (("X\r\nY", "a"),)),
        Response(200, (("X:", "a"),)),
        Response(304, (("X:", "a"),)),
        Response(200, (("X", "€"),)),
        Response(200, (("Content-Length", "0"),)),
        Response(200, (("transfer-encoding", "chunked"),)),
        Response(100),
        Response(99999),
        Response(200, (), "text"),  # type: ignore[arg-type]
        Response(200, (), ["text"]),  # type: ignore[list-item]
        Response(200, (), FilePart(0, 0, 1)),  # type: ignore[arg-type]
        Response(200, (), 5),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_answers_that_cannot_be_sent_are_a_500(response: Response, caplog: pytest.LogCaptureFixture) -> None:
    closed = Noted()
    response.close = closed

    async def handler(request: Request, body: Body) -> Response:
        return response if request.path == "/bad" else plain(200, "well")

    with served(handler) as port, client(port) as connection:
        answer, text = asked(connection, "GET", "/bad")
        assert (answer.status, "Set-Cookie" in answer.headers, text) == (500, False, b"Internal Server Error\n")
        assert asked(connection, "GET", "/")[1] == b"well\n"
    assert len(closed.all) == 1
    assert "UsageError" in caplog.text


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_that_fails_in_its_middle_is_seen_to_be_cut(model: str, caplog: pytest.LogCaptureFixture) -> None:
    closed = Noted()

    async def handler(request: Request, body: Body) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"x" * 500_000
            raise RuntimeError("out of words")

        return Response(200, (), pieces(), closed)

    with served(handler, model=model) as port, client(port) as connection:
        for count in (1, 2):
            with pytest.raises((http.client.HTTPException, ConnectionError)):
                asked(connection, "GET", "/")
            connection.close()
            assert len(closed.wait(count)) == count
    assert "out of words" in caplog.text


def test_an_answer_that_fails_at_its_first_piece_is_a_clean_500(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request, body: Body) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield "text" if request.path == "/text" else b"%d" % (1 // 0)  # type: ignore[misc]

        return Response(200, (("X", "y"),), pieces()) if request.path != "/" else plain(200, "well")

    with served(handler) as port, client(port) as connection:
        for path in ("/text", "/zero"):
            response, body = asked(connection, "GET", path)
            assert (response.status, body, response.headers["X"]) == (500, b"Internal Server Error\n", None)
        assert asked(connection, "GET", "/")[1] == b"well\n"
    assert "ZeroDivisionError" in caplog.text
    assert "a piece of a body is bytes, not str" in caplog.text


@pytest.mark.parametrize("model", MODELS)
def test_what_an_answer_holds_is_given_back_when_its_client_has_gone(
    model: str, caplog: pytest.LogCaptureFixture
) -> None:
    closed, ended = Noted(), Noted()

    async def handler(request: Request, body: Body) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 65536
            finally:
                ended()

        return Response(200, (), pieces(), closed)

    with served(handler, model=model) as port:
        with dial(port) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            sock.recv(1000)
        closed.wait()
        ended.wait()
    assert len(closed.all) == len(ended.all) == 1
    assert not caplog.records  # a client that goes is no news


def test_what_an_answer_holds_is_given_back_when_the_server_ends() -> None:
    closed = Noted()

    async def handler(request: Request, body: Body) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"x"
            await asyncio.Event().wait()

        return Response(200, (), pieces(), closed)

    with served(handler, drain_time=0.1) as port, dial(port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        sock.recv(1000)
        held = sock.dup()
    with held:
        closed.wait()
    assert len(closed.all) == 1


def test_a_close_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise RuntimeError("the door is stuck")

    async def handler(request: Request, body: Body) -> Response:
        return Response(200, (), b"well", broken)

    with served(handler) as port, client(port) as connection:
        assert asked(connection, "GET", "/")[1] == b"well"
        assert asked(connection, "GET", "/")[1] == b"well"
    assert "the door is stuck" in caplog.text


def test_a_model_that_cannot_run_the_handler_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request, body: Body) -> Response:
        await asyncio.sleep(0)
        return plain(200)

    with served(handler, model="select") as port, client(port) as connection:
        assert asked(connection, "GET", "/")[0].status == 500
    assert "use model='asyncio'" in caplog.text


def test_every_answer_is_told_to_the_log() -> None:
    noted: Noted = Noted()
    with served(numbers, log=noted) as port, client(port) as connection:
        asked(connection, "GET", "/a?b")
        asked(connection, "HEAD", "/a")
        noted.wait(2)
    first: Exchange = noted.all[0]
    assert first.peer.host == "127.0.0.1"
    assert first.request is not None
    assert (first.request.target, first.status, first.sent) == ("/a?b", 200, 5000)
    assert 0 <= first.seconds < PATIENCE
    assert noted.all[1].sent == 0


def test_ten_thousand_requests_of_random_bytes() -> None:
    """None of them makes the server fail, and it still answers."""
    chance = random.Random(1)
    letters = (
        b"GET POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\0\xff"
    )
    limits = replace(FAST, linger_time=0.01)

    def any_bytes() -> bytes:
        kind = chance.randrange(3)
        if kind == 0:
            return chance.randbytes(chance.randrange(1, 200))
        if kind == 1:
            return bytes(chance.choices(letters, k=chance.randrange(1, 200)))
        damaged = bytearray(
            b"POST /%41 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        )
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        return bytes(damaged)

    with served(echo, limits=limits) as port:
        counts: dict[int, int] = {}
        for _ in range(10_000):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
                sock.sendall(any_bytes())
                sock.shutdown(socket.SHUT_WR)
                for status in statuses(rest(sock)):
                    counts[status] = counts.get(status, 0) + 1
        with client(port) as connection:
            assert asked(connection, "POST", "/", body=b"still there")[1] == b"still there"
    assert 500 not in counts
    assert counts[400] > 5000
    assert counts[200] > 100
