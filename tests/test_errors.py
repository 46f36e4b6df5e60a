"""Errors: the tree, the sentences, and what they carry through languages and processes."""

from __future__ import annotations

import logging
import pickle
import socket
from typing import Any

import pytest

import prise
from blocking_support import PATIENCE, talk, until
from prise import errors
from prise.errors import (
    AddressError,
    BindError,
    ConnectError,
    ConnectionLost,
    FrameError,
    HandoverError,
    MessageTooLarge,
    MissingExtra,
    PeerError,
    PriseError,
    ResolveError,
    SpellingError,
    TooSlow,
    Unsupported,
    UsageError,
)

ALL = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, PriseError)]


# The tree


@pytest.mark.parametrize(
    ("error", "also", "exit_code"),
    [
        (ResolveError, (PeerError,), 3),
        (ConnectError, (PeerError, ConnectionError, OSError), 4),
        (TooSlow, (PeerError, TimeoutError, OSError), 5),
        (ConnectionLost, (PeerError, ConnectionError, OSError), 8),
        (FrameError, (PeerError,), 1),
        (MessageTooLarge, (FrameError,), 1),
        (HandoverError, (PeerError,), 1),
        (AddressError, (UsageError, ValueError), 2),
        (BindError, (UsageError, OSError), 4),
        (SpellingError, (UsageError, TypeError), 2),
        (Unsupported, (UsageError,), 2),
        (MissingExtra, (UsageError, ImportError), 2),
    ],
)
def test_what_they_are_and_how_the_command_ends(error, also, exit_code):
    assert issubclass(error, (PriseError, *also))
    assert all(issubclass(error, each) for each in also)
    assert error.exit_code == exit_code
    assert getattr(prise, error.__name__) is error


def test_each_is_either_the_peers_or_the_callers():
    for each in ALL:
        assert each is PriseError or issubclass(each, PeerError) != issubclass(each, UsageError)


# The sentences


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PriseError("it broke"), "it broke"),
        (PriseError("it broke", operation="send"), "send: it broke"),
        (PriseError("it broke", operation="send", transport="tcp", peer="a:1", local="b:2"), "send tcp a:1: it broke"),
        (PriseError("it broke", operation="bind", transport="tcp", local="b:2"), "bind tcp b:2: it broke"),
        (TooSlow("nothing for {seconds:g} s", peer="a:1", seconds=2.5), "a:1: nothing for 2.5 s"),
        (FrameError("wrong at byte {offset}", offset=0), "wrong at byte 0"),
        (PriseError("from {outside}", outside="{0} {x}"), "from {0} {x}"),
        (PriseError("a {brace} that came from outside"), "a {brace} that came from outside"),
    ],
)
def test_they_read_like_sentences(error, sentence):
    assert str(error) == sentence


def test_they_can_be_said_in_another_language():
    french = {"nothing for {seconds:g} s": "rien pendant {seconds:g} s", "receive": "réception"}.get
    error = TooSlow("nothing for {seconds:g} s", operation="receive", transport="tcp", peer="a:1", seconds=2)
    assert error.sentence(lambda text: french(text, text)) == "réception tcp a:1: rien pendant 2 s"
    assert str(error) == "receive tcp a:1: nothing for 2 s"


@pytest.mark.parametrize("kind", ALL)
def test_they_cross_processes(kind):
    error = kind("{n} of {m}", operation="send", transport="tcp", peer=prise.Address.parse("a:1"), n=1, m=2)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error) == "send tcp a:1: 1 of 2"
    assert (copy.operation, copy.peer, copy.local) == ("send", error.peer, None)
    assert copy.details == error.details
    assert {"n": 1, "m": 2}.items() <= copy.details.items()
    assert copy.args == error.args


# What a connection says


def test_every_error_of_a_connection_says_between_whom():
    def fails(connection: prise.Connection, peer: socket.socket, how: str) -> PeerError:
        with pytest.raises(PeerError) as caught:
            if how == "receive":
                connection.receive(timeout=0)
            elif how == "ask":
                peer.shutdown(socket.SHUT_WR)
                connection.ask("?")
            elif how == "frame":
                peer.sendall(b"\xff\n")
                connection.receive(PATIENCE)
            else:
                peer.close()
                for _ in range(1000):
                    connection.send("x" * 1000)
        return caught.value

    for how, operation in (("receive", "receive"), ("ask", "ask"), ("frame", "receive"), ("send", "send")):
        with talk() as (connection, peer):
            error = fails(connection, peer, how)
            assert (error.operation, error.transport) == (operation, "tcp")
            assert (error.local, error.peer) == (connection.local, connection.peer)
            assert str(error).startswith(f"{operation} tcp {connection.peer}: ")
        with talk(unix=True) as (connection, peer):
            error = fails(connection, peer, how)
            assert str(error).startswith(f"{operation} unix:: "), "the address has the transport in it already"


# What a server says about conversations


def conversation(connection: Any) -> None:
    for line in connection:
        if line == "raise":
            raise ValueError("a mistake")
        if line == "exit":
            raise SystemExit
        if line == "elsewhere":
            prise.connect("127.0.0.1:1", timeout=1).open()
        if line == "patience":
            connection.receive(timeout=0.01)
        if line == "number":
            connection.send(12)
        if line == "ask":
            connection.ask("?")


@pytest.mark.parametrize(
    ("lines", "counted", "level", "says"),
    [
        (b"raise\n", "conversation", logging.ERROR, "the conversation conversation failed"),
        (b"elsewhere\n", "conversation", logging.ERROR, "the conversation conversation failed"),
        (b"number\n", "conversation", logging.ERROR, "the conversation conversation failed"),
        (b"\xff\n", "frame", logging.WARNING, "byte"),
        (b"patience\n", "too_slow", logging.INFO, "no message in the time given"),
        (b"exit\n", None, None, None),
        (b"ask\n", None, None, None),
        (b"", None, None, None),
    ],
)
def test_one_policy_for_conversations_that_end_badly(lines, counted, level, says, caplog):
    with caplog.at_level(logging.INFO, "prise"), prise.listen(conversation, "127.0.0.1:0") as server:
        with socket.create_connection(("127.0.0.1", int(server.address.port or 0)), timeout=PATIENCE) as client:
            client.sendall(lines)
            if counted != "too_slow":
                client.shutdown(socket.SHUT_WR)
            while client.recv(100):
                pass
            me = "{}:{}".format(*client.getsockname())
        until(lambda: server.stats().open == 0, "it is over")
        assert {name: count for name, count in server.stats().errors.items() if count} == (
            {counted: 1} if counted else {}
        )
        with prise.connect(server.address):
            pass  # and it serves on
    records = [record for record in caplog.records if record.name == "prise"]
    if level is None:
        assert records == []
    else:
        (record,) = records
        assert record.levelno == level
        assert f"from {me}" in record.getMessage()
        assert says in record.getMessage()
        assert bool(record.exc_info) == (level == logging.ERROR)


def test_a_warning_says_the_whole_sentence(caplog):
    with prise.listen(conversation, "127.0.0.1:0") as server:
        with socket.create_connection(("127.0.0.1", int(server.address.port or 0)), timeout=PATIENCE) as client:
            client.sendall(b"fine\n\xff\n")
            assert client.recv(1) == b""
            me = "{}:{}".format(*client.getsockname())
    (record,) = caplog.records
    assert f"receive tcp {me}: " in record.getMessage()
