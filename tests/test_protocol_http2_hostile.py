"""HTTP/2 servers that mean harm, or are only unusual: what the client makes of their frames."""

from __future__ import annotations

import itertools
import select
import threading
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

import prise
from http_fake import Conversation, asked, server
from prise.errors import (
    ConnectionLost,
    MessageTooLarge,
    PriseError,
    ProtocolError,
)
from prise.protocols.http import http2 as http2_module
from tls_support import client_tls


def http2(*acts: Callable[[h2.connection.H2Connection], Any]) -> Conversation:
    """A server of HTTP/2 that does these things, one after the other, when the request has come."""

    def conversation(connection: Any) -> None:
        protocol = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, validate_outbound_headers=False)
        )
        protocol.initiate_connection()
        connection.send(protocol.data_to_send())
        for data in connection:
            events = protocol.receive_data(data)
            connection.send(protocol.data_to_send())
            if any(type(event).__name__ == "RequestReceived" for event in events):
                for act in acts:
                    said = act(protocol)
                    connection.send(said if isinstance(said, bytes) else protocol.data_to_send())
                return

    return conversation


def head_of(protocol: h2.connection.H2Connection) -> None:
    protocol.send_headers(1, [(":status", "200"), ("content-length", "10")])


def ping(protocol: h2.connection.H2Connection) -> None:
    for _ in range(2000):
        protocol.ping(bytes(8))


@pytest.mark.parametrize(
    ("acts", "error"),
    [
        ([lambda p: b"nonsense that is no frame at all"], ProtocolError),
        ([lambda p: (20_000).to_bytes(3, "big") + bytes(6 + 20_000)], ProtocolError),
        ([lambda p: p.send_headers(1, [(":status", "abc")], end_stream=True)], ProtocolError),
        ([lambda p: p.send_headers(1, [("a", "b")] * 2000)], MessageTooLarge),
        ([head_of, lambda p: p.send_data(1, b"short")], ConnectionLost),
        ([head_of, lambda p: p.send_data(1, b"short", end_stream=True)], ProtocolError),
        ([head_of, lambda p: p.reset_stream(1, 2)], ConnectionLost),
        ([lambda p: p.reset_stream(1, 2)], ConnectionLost),
        ([lambda p: p.close_connection()], ConnectionLost),
        ([ping] * 10, ProtocolError),
        ([head_of, *([lambda p: [p.send_data(1, b"") for _ in range(2000)]] * 10)], ProtocolError),
        ([lambda p: p.send_headers(1, [(":status", "103")])] * 100, ProtocolError),
    ],
)
def test_hostile_http2(acts: list[Any], error: type[PriseError]) -> None:
    with server(http2(*acts), tls=True, alpn="h2") as url, pytest.raises(error):
        asked(url, timeout=5, tls=client_tls(), http2=True)


def frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, 0, 0, 0, 0, 0]) + payload


def goaway(last: int, code: int = 0) -> Callable[[Any], bytes]:
    return lambda protocol: frame(7, last.to_bytes(4, "big") + code.to_bytes(4, "big"))


def ten_bytes(protocol: h2.connection.H2Connection) -> None:
    protocol.send_data(1, b"0123456789", end_stream=True)


@pytest.mark.parametrize("acts", [[goaway(1), head_of, ten_bytes], [head_of, goaway(2**31 - 1), goaway(1), ten_bytes]])
def test_a_server_of_http2_that_wants_to_close_ends_its_answer_first(acts: list[Any]) -> None:
    """As nginx does behind every thousandth request."""
    with server(http2(*acts), tls=True, alpn="h2") as url:
        with prise.open(f"{url}/", timeout=2, tls=client_tls(), http2=True) as web:
            assert web.get("a").read() == web.get("b").read() == b"0123456789"  # the second on a new connection


@pytest.mark.parametrize("acts", [[goaway(0)], [head_of, goaway(1, 2), ten_bytes]])
def test_a_server_of_http2_that_closes_without_an_answer(acts: list[Any]) -> None:
    with server(http2(*acts), tls=True, alpn="h2") as url, pytest.raises(ConnectionLost):
        asked(url, tls=client_tls(), http2=True)


def answering(say: Callable[[h2.connection.H2Connection, Any], None]) -> Conversation:
    """A server of HTTP/2 that answers events."""

    def conversation(connection: Any) -> None:
        protocol = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None, validate_outbound_headers=False)
        )
        protocol.initiate_connection()
        connection.send(protocol.data_to_send())
        for data in connection:
            for event in protocol.receive_data(data):
                say(protocol, event)
            connection.send(protocol.data_to_send())

    return conversation


def test_many_answers_without_a_body_are_no_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2_module, "MOST_IDLE_FRAMES", 30)

    def say(protocol: h2.connection.H2Connection, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            protocol.send_headers(event.stream_id, [(":status", "204")], end_stream=True)

    with server(answering(say), tls=True, alpn="h2") as url:
        with prise.open(f"{url}/", timeout=2, tls=client_tls(), http2=True) as web:
            for _ in range(40):
                assert web.head("a").status == 204


def test_an_upload_by_http2_goes_on_through_hints_and_small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2_module, "MOST_IDLE_FRAMES", 100)
    taken = 0

    def say(protocol: h2.connection.H2Connection, event: Any) -> None:
        nonlocal taken
        if isinstance(event, h2.events.RequestReceived):
            protocol.send_headers(event.stream_id, [(":status", "103")])
        elif isinstance(event, h2.events.DataReceived):
            taken += len(event.data)
            protocol.increment_flow_control_window(len(event.data) or 1)
            protocol.increment_flow_control_window(len(event.data) or 1, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            protocol.send_headers(event.stream_id, [(":status", "204"), ("x", b"\xfc")], end_stream=True)

    with server(answering(say), tls=True, alpn="h2") as url:
        with prise.open(f"{url}/", timeout=2, tls=client_tls(), http2=True) as web:
            assert web.put("a", bytes(2_000_000)).headers["x"] == "\udcfc"
    assert taken == 2_000_000


def test_a_server_of_http2_that_takes_no_further_request() -> None:
    def say(protocol: h2.connection.H2Connection, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            protocol.send_headers(event.stream_id, [(":status", "204")], end_stream=True)
            protocol.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 0})

    with server(answering(say), tls=True, alpn="h2") as url:
        with prise.open(f"{url}/", timeout=2, tls=client_tls(), http2=True) as web:
            assert [web.post("a").status for _ in range(3)] == [204] * 3  # each on a connection of its own


def test_noise_between_answers_ends_the_link_and_not_the_session() -> None:
    go, numbers = threading.Event(), itertools.count()

    def conversation(connection: Any) -> None:
        first = next(numbers) == 0
        protocol = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        protocol.initiate_connection()
        for data in connection:
            for event in protocol.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    protocol.send_headers(event.stream_id, [(":status", "204")], end_stream=True)
            connection.send(protocol.data_to_send())
            if first and protocol.highest_inbound_stream_id:
                assert go.wait(2)
                connection.send(frame(0, b"data of no stream"))

    with server(conversation, tls=True, alpn="h2") as url:
        with prise.open(f"{url}/", timeout=2, tls=client_tls(), http2=True) as web:
            web.head("a")
            go.set()
            select.select([web.connection], [], [], 2)
            assert web.head("b").status == 204
    assert next(numbers) == 2
