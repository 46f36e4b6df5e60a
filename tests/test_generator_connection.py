"""Generator conversations (and coroutines stepped by our own loop): each message in the turn that read it, nothing ever waits."""

from __future__ import annotations

import contextvars
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import prise
from prise import GeneratorConnection, Limits
from prise.layers.base import Layer
from prise.servers.server import Server

PATIENCE = 10.0
QUICK = Limits(linger_time=0.2)


@pytest.fixture(params=["select", "asyncio"])
def model(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def serving(conversation: Any, model: str = "select", limits: Limits = QUICK, **options: Any) -> Server:
    return prise.listen(conversation, "127.0.0.1:0", model=model, limits=limits, **options)


@contextmanager
def client_of(server: Server, receive_buffer: int = 0) -> Iterator[socket.socket]:
    with socket.socket() as client:
        client.settimeout(PATIENCE)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect((str(server.address.host), int(server.address.port or 0)))
        yield client


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def read(client: socket.socket) -> bytes:
    """Everything until the end, which is an end and not a reset."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def until(condition: Callable[[], bool], what: str = "") -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def talk(conversation: Any, model: str, data: bytes, **options: Any) -> tuple[bytes, prise.Stats]:
    """Says everything, ends, and listens: what comes back, and the server's final counts."""
    with serving(conversation, model, **options) as server:
        with client_of(server) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            heard = read(client)
        until(lambda: server.stats().open == 0)
    return heard, server.stats()


def errors(stats: prise.Stats) -> dict[str, int]:
    return {cause: count for cause, count in stats.errors.items() if count}


# -- what a generator says -----------------------------------------------------------------------------------------------


def test_yield_sends_and_receives(model: str) -> None:
    def form(connection: GeneratorConnection) -> Any:
        name = yield "name?"
        yield None
        return f"bye {name}"

    assert talk(form, model, b"Zo\xc3\xa9\nx\nnobody hears this\n")[0] == "name?\nbye Zoé\n".encode()


def test_send_besides_yield_comes_first(model: str) -> None:
    def wordy(connection: GeneratorConnection) -> Any:
        connection.send("zero")
        message = yield "one"
        connection.send("two")
        connection.send("three")
        yield f"four {message}"

    heard, stats = talk(wordy, model, b"m\n")
    assert heard == b"zero\none\ntwo\nthree\nfour m\n"
    assert (stats.messages_received, stats.messages_sent) == (1, 5)


def test_close_ends_it_at_the_next_yield(model: str) -> None:
    cleaned = []

    def closer(connection: GeneratorConnection) -> Any:
        try:
            yield None
            connection.send("before")
            connection.close()
            yield "after"
            raise AssertionError("it goes on")
        finally:
            cleaned.append(True)

    heard, stats = talk(closer, model, b"1\n2\n3\n")
    assert heard == b"before\nafter\n"
    assert cleaned == [True]
    assert not errors(stats)


def test_receive_is_for_the_others(model: str) -> None:
    def confused(connection: GeneratorConnection) -> Any:
        yield None
        connection.receive()

    assert errors(talk(confused, model, b"1\n")[1]) == {"conversation": 1}


def test_what_the_framing_cannot_carry_is_raised_at_its_yield(model: str) -> None:
    def careless(connection: GeneratorConnection) -> Any:
        yield None
        try:
            yield "two\nlines"
        except prise.UsageError:
            return "sorry"

    heard, stats = talk(careless, model, b"1\n2\n")
    assert heard == b"sorry\n"
    assert not errors(stats)


def test_and_counted_when_it_is_not_caught(model: str) -> None:
    def careless(connection: GeneratorConnection) -> Any:
        yield "fine"
        yield "two\nlines"

    heard, stats = talk(careless, model, b"1\n2\n")
    assert heard == b"fine\n"
    assert errors(stats) == {"conversation": 1}


def test_a_last_word_that_cannot_be_carried(model: str) -> None:
    def careless(connection: GeneratorConnection) -> Any:
        yield "fine"
        return "two\nlines"

    assert errors(talk(careless, model, b"1\n")[1]) == {"conversation": 1}


def test_it_may_fail_before_its_first_word(model: str) -> None:
    def broken(connection: GeneratorConnection) -> Any:
        raise ValueError("ouch")
        yield

    def refuses(connection: Any) -> Any:
        raise ValueError("not even a generator")

    assert errors(talk(broken, model, b"1\n")[1]) == {"conversation": 1}


def test_a_generator_that_will_not_end_is_ended(model: str) -> None:
    """One more `yield` after the end is a last word; a second one is an error."""

    def stubborn(connection: GeneratorConnection) -> Any:
        try:
            yield None
        except GeneratorExit:
            yield "last word"

    def mulish(connection: GeneratorConnection) -> Any:
        for _ in range(3):
            try:
                yield None
            except GeneratorExit:
                pass

    heard, stats = talk(stubborn, model, b"")
    assert (heard, errors(stats)) == (b"last word\n", {})
    assert errors(talk(mulish, model, b"")[1]) == {"conversation": 1}


def test_errors_of_the_peer_are_raised_at_the_yield(model: str) -> None:
    def polite(connection: GeneratorConnection) -> Any:
        try:
            while True:
                yield "ok"
        except prise.MessageTooLarge as error:
            return f"{error.details['limit']} bytes at most"

    heard, stats = talk(polite, model, b"x" * 500, limits=Limits(message_size=100, linger_time=0.2))
    assert heard == b"ok\n100 bytes at most\n"
    assert not errors(stats), "a conversation that deals with it has not ended badly"


def test_silence_is_an_error_with_a_last_word(model: str) -> None:
    def patient(connection: GeneratorConnection) -> Any:
        try:
            yield None
        except prise.TooSlow as error:
            return str(error.reason)

    with serving(patient, model, Limits(idle_time=0.1, linger_time=0.2)) as server, client_of(server) as client:
        assert read(client) == b"nothing arrived for {seconds:g} s\n"


def test_after_a_last_word_the_connection_is_not_broken(model: str) -> None:
    """What a slow peer still sends is read away for a while: a reset could destroy the word that is on its way."""

    def patient(connection: GeneratorConnection) -> Any:
        try:
            yield None
        except prise.TooSlow:
            return "goodbye"

    with serving(patient, model, Limits(message_time=0.1, linger_time=5.0)) as server, client_of(server) as client:
        client.sendall(b"half a mes")
        assert client.recv(100) == b"goodbye\n"
        assert client.recv(100) == b""
        for _ in range(3):
            client.sendall(b"sage")  # a reset would be noticed here


def test_each_conversation_has_its_own_context(model: str) -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    ended = []

    def who(connection: GeneratorConnection) -> Any:
        reply = None
        try:
            while True:
                message = yield reply
                reply = name.get()
                name.set(message)
        finally:
            ended.append(name.get())

    with serving(who, model) as server, prise.connect(server.address) as one, prise.connect(server.address) as other:
        if model == "select":
            assert [one.ask("Zoé"), other.ask("Léo"), one.ask("-"), other.ask("-")] == [
                "nobody",
                "nobody",
                "Zoé",
                "Léo",
            ]


def test_conversations_that_talk_to_each_other(model: str) -> None:
    """A room: each message is posted to all others from within one conversation's turn."""
    room: set[GeneratorConnection] = set()

    def member(connection: GeneratorConnection) -> Any:
        room.add(connection)
        try:
            while True:
                message = yield None
                prise.broadcast(room - {connection}, message)
        finally:
            room.discard(connection)
            prise.broadcast(room, "one left")

    with serving(member, model) as server:
        with prise.connect(server.address) as one, prise.connect(server.address) as other:
            until(lambda: len(room) == 2)
            for number in range(200):
                one.send(str(number))
            other.send("hello")
            assert [other.receive(PATIENCE) for _ in range(200)] == [str(number) for number in range(200)]
            assert one.receive(PATIENCE) == "hello"
            other.close()
            assert one.receive(PATIENCE) == "one left"
    assert not room


def test_a_conversation_that_aborts_another(model: str) -> None:
    room: dict[str, GeneratorConnection] = {}

    def member(connection: GeneratorConnection) -> Any:
        room[(yield "name?")] = connection
        while True:
            victim = yield "whom?"
            room[victim].abort()

    with serving(member, model) as server:
        with prise.connect(server.address) as one, prise.connect(server.address) as other:
            for client, name in ((one, "one"), (other, "other")):
                assert client.receive(PATIENCE) == "name?"
                assert client.ask(name, timeout=PATIENCE) == "whom?"
            assert one.ask("other", timeout=PATIENCE) == "whom?"
            assert other.receive(PATIENCE) is None
            one.send("one")  # itself
            assert list(one) in (["whom?"], [])
        until(lambda: server.stats().open == 0)
        assert not errors(server.stats())


def test_leaving_the_loop_by_force_ends_every_conversation() -> None:
    """SystemExit is not the server's to swallow; on the way out no generator is left to the garbage collector."""
    ended = []

    def conversation(connection: GeneratorConnection) -> Any:
        try:
            if (yield None) == "exit":
                raise SystemExit(3)
            yield None
        finally:
            ended.append(threading.current_thread().name)

    server = serving(conversation).start()
    with client_of(server) as one, client_of(server) as other:
        other.sendall(b"hello\n")
        until(lambda: server.stats().messages_received == 1)
        one.sendall(b"exit\n")
        assert read(other) == b""
    with pytest.raises(SystemExit):
        server.stop()
    assert ended == ["prise-server"] * 2


# -- half-close, resets, slow peers --------------------------------------------------------------------------------------


def test_many_lines_and_an_end_in_one_packet(model: str) -> None:
    """More messages than a turn takes, a last line without its end, and the end of input: all are answered."""

    def count(connection: GeneratorConnection) -> Any:
        total = 0
        try:
            while True:
                yield None
                total += 1
        except GeneratorExit:
            return str(total)

    assert talk(count, model, b"\n" * 1000 + b"last")[0] == b"1001\n"


def test_what_was_sent_before_a_bad_frame_is_answered(model: str) -> None:
    def echo(connection: GeneratorConnection) -> Any:
        reply = None
        while True:
            reply = yield reply

    heard, stats = talk(echo, model, b"5:hello,3:abc,x", framing="netstring")
    assert heard == b"5:hello,3:abc,"
    assert errors(stats) == {"frame": 1}
    heard, stats = talk(echo, model, b"5:hello," * 100 + b"9:cut sho", framing="netstring")
    assert heard == b"5:hello," * 100
    assert errors(stats) == {"frame": 1}


def test_a_lost_connection_is_counted_once(model: str) -> None:
    def echo(connection: GeneratorConnection) -> Any:
        reply = None
        while True:
            reply = yield reply

    with serving(echo, model) as server:
        with client_of(server) as client:
            client.sendall(b"hello\n")
            client.recv(1)
            reset(client)
        until(lambda: server.stats().open == 0)
        assert errors(server.stats()) == {"lost": 1}


def test_a_reset_while_answers_wait_ends_the_conversation(model: str) -> None:
    ended = []

    def flood(connection: GeneratorConnection) -> Any:
        try:
            while True:
                yield "x" * 100_000
        finally:
            ended.append(True)

    with serving(flood, model) as server, client_of(server, receive_buffer=4096) as client:
        client.sendall(b"\n" * 1000)
        client.recv(1)
        time.sleep(0.05)
        reset(client)
        until(lambda: server.stats().open == 0)
        assert ended == [True]
        assert errors(server.stats()) == {"lost": 1}


def test_a_peer_that_does_not_take_the_last_answer_is_too_slow(model: str) -> None:
    def big(connection: GeneratorConnection) -> Any:
        yield None
        return "x" * 10_000_000

    limits = Limits(write_time=0.2, linger_time=0.2)
    with serving(big, model, limits) as server, client_of(server, receive_buffer=4096) as client:
        client.sendall(b"go\n")
        until(lambda: server.stats().total == 1 and server.stats().open == 0)
        assert errors(server.stats()) == {"too_slow": 1}


def test_a_peer_that_takes_slowly_but_steadily_is_served(model: str) -> None:
    """Longer than the idle limit in all, but never without progress."""

    def big(connection: GeneratorConnection) -> Any:
        yield None
        return "x" * 8_000_000

    limits = Limits(idle_time=0.4, linger_time=0.2)
    with serving(big, model, limits) as server, client_of(server, receive_buffer=65536) as client:
        client.sendall(b"go\n")
        taken, began = 0, time.monotonic()
        while data := client.recv(200_000):
            taken += len(data)
            if time.monotonic() - began < 1.2:
                time.sleep(0.02)
        assert taken == 8_000_001
        assert not errors(server.stats())


def test_the_rest_of_a_message_behind_a_long_batch_has_its_deadline(model: str) -> None:
    """The half message becomes visible only when the last of several batches is decoded."""

    def sink(connection: GeneratorConnection) -> Any:
        while True:
            yield None

    limits = Limits(message_time=0.2, idle_time=None, linger_time=0.2)
    with serving(sink, model, limits) as server, client_of(server) as client:
        client.sendall(b"line\n" * 200 + b"half")
        assert read(client) == b""
        assert server.stats().messages_received == 200
        assert errors(server.stats()) == {"too_slow": 1}


def test_a_message_has_its_time_again_after_backpressure(model: str) -> None:
    """While the peer's answers wait, its next message is not read: that time is not counted against it."""

    def big(connection: GeneratorConnection) -> Any:
        reply = None
        while True:
            message = yield reply
            reply = "x" * int(message[:8])

    limits = Limits(message_time=0.4, linger_time=0.2)
    with serving(big, model, limits) as server, client_of(server, receive_buffer=4096) as client:
        client.sendall(b"09000000\n00000003")
        time.sleep(0.6)
        taken = 0
        while taken < 9_000_001:
            taken += len(client.recv(65536))
        client.sendall(b"\n")
        assert client.recv(4) == b"xxx\n"
        assert not errors(server.stats())


def test_a_broadcast_to_a_stuck_peer_gives_up_that_peer_only(model: str) -> None:
    room: list[GeneratorConnection] = []

    def member(connection: GeneratorConnection) -> Any:
        room.append(connection)
        try:
            while True:
                message = yield None
                prise.broadcast(room, message)
        finally:
            room.remove(connection)

    limits = Limits(outbox_size=200_000, linger_time=0.2)
    with serving(member, model, limits) as server, client_of(server, receive_buffer=4096):
        until(lambda: len(room) == 1)
        with prise.connect(server.address) as healthy:
            sent = 0
            while server.stats().errors["too_slow"] == 0:
                assert healthy.ask("x" * 50_000, timeout=PATIENCE) == "x" * 50_000
                sent += 1
                assert sent < 1000
            assert healthy.ask("still here?", timeout=PATIENCE) == "still here?"
            assert len(room) == 1
    assert errors(server.stats()) == {"too_slow": 1}


@pytest.mark.parametrize("spelling", ["generator", "coroutine"])
def test_given_up_in_the_moment_when_the_peer_ends(model: str, spelling: str) -> None:
    """The end is seen first; the reason is told all the same, and counted once."""
    victims: list[Any] = []
    peers: list[socket.socket] = []

    def generator(connection: GeneratorConnection) -> Any:
        victims.append(connection)
        while True:
            yield None

    async def coroutine(connection: prise.AsyncConnection) -> None:
        victims.append(connection)
        async for _ in connection:
            pass

    def pusher(connection: GeneratorConnection) -> Any:
        yield None
        peers[0].shutdown(socket.SHUT_WR)
        while victims[0].post("x" * 9_999):
            pass

    def any_of_them(connection: GeneratorConnection) -> Any:
        yield from (pusher if victims else generator)(connection)

    async def any_coroutine(connection: prise.AsyncConnection) -> None:
        if not victims:
            return await coroutine(connection)
        await connection.receive()
        peers[0].shutdown(socket.SHUT_WR)
        while victims[0].post("x" * 9_999):
            pass

    limits = Limits(outbox_size=100_000, linger_time=0.2)
    conversation = any_of_them if spelling == "generator" else any_coroutine
    with serving(conversation, model, limits) as server, client_of(server) as victim:
        peers.append(victim)
        until(lambda: bool(victims))
        with client_of(server) as push:
            push.sendall(b"now\n")
            until(lambda: server.stats().total == 2 and server.stats().open == 0)
        assert errors(server.stats()) == {"too_slow": 1}


# -- layers --------------------------------------------------------------------------------------------------------------


class Greeting(Layer):
    """A layer with a mind of its own: it speaks first, answers a `?` itself, in capitals, and has a last word."""

    def __init__(self) -> None:
        self.said = b"[hello]"

    def receive(self, data: bytes) -> bytes:
        if b"!" in data:
            self.said += b"[no!]"
            raise prise.FrameError("a ! at byte {offset}", offset=data.index(b"!"))
        self.said += b"[yes]" * data.count(b"?")
        return data.replace(b"?", b"")

    def send(self, data: bytes) -> bytes:
        return data.upper()

    def output(self) -> bytes:
        said, self.said = self.said, b""
        return said

    def end(self) -> bytes:
        return b"[bye]"


@pytest.mark.parametrize("spelling", ["generator", "coroutine"])
def test_a_layer_speaks_in_front_of_the_conversation(model: str, spelling: str) -> None:
    def generator(connection: GeneratorConnection) -> Any:
        reply = "welcome"
        while True:
            reply = yield reply

    async def coroutine(connection: prise.AsyncConnection) -> None:
        await connection.send("welcome")
        async for message in connection:
            await connection.send(message)

    conversation = generator if spelling == "generator" else coroutine
    heard, stats = talk(conversation, model, b"a?\nb\n", layers=[Greeting])
    assert heard == b"[hello]WELCOME\n[yes]A\nB\n[bye]"
    assert not errors(stats)
    heard, stats = talk(conversation, model, b"a!", layers=[Greeting])
    assert heard == b"[hello]WELCOME\n[no!][bye]"
    assert errors(stats) == {"frame": 1}


def test_a_layer_has_its_last_word_before_a_half_close(model: str) -> None:
    async def half(connection: prise.AsyncConnection) -> None:
        await connection.send("my part")
        await connection.send_eof()
        async for message in connection:
            heard.append(message)

    heard: list[str] = []
    with serving(half, model, layers=[Greeting]) as server, client_of(server) as client:
        assert read(client) == b"[hello]MY PART\n[bye]"
        client.sendall(b"yours\n?")
        client.shutdown(socket.SHUT_WR)
        until(lambda: server.stats().open == 0)
        assert heard == ["yours"]
        assert not errors(server.stats())


# -- coroutines on our own loop ------------------------------------------------------------------------------------------


def test_a_coroutine_on_select_may_catch_the_refusal_of_what_it_awaits() -> None:
    async def curious(connection: prise.AsyncConnection) -> None:
        import asyncio

        await connection.receive()
        try:
            await asyncio.sleep(0)
        except prise.SpellingError as error:
            await connection.send(str(error))
        async for message in connection:
            await connection.send(message)

    heard, stats = talk(curious, "select", b"a\nb\n")
    assert heard.decode().splitlines()[0].endswith("use model='asyncio'")
    assert heard.decode().splitlines()[1:] == ["b"]
    assert not errors(stats)


def test_a_coroutine_on_select_with_a_timeout_goes_on() -> None:
    async def patient(connection: prise.AsyncConnection) -> None:
        for _ in range(3):
            try:
                await connection.send(str(await connection.receive(timeout=0.05)))
            except prise.TooSlow:
                await connection.send("late")
        await connection.send(str(await connection.ask("last?")))

    with serving(patient) as server, prise.connect(server.address) as client:
        assert [client.receive(PATIENCE) for _ in range(3)] == ["late"] * 3
        assert client.receive(PATIENCE) == "last?"
        client.send("yes")
        assert list(client) == ["yes"]


def test_a_coroutine_on_select_is_cleaned_up_in_its_own_context() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")
    ended = []

    async def stuck(connection: prise.AsyncConnection) -> None:
        name.set("Zoé")
        try:
            while True:
                await connection.send("x" * 100_000)
        finally:
            ended.append((name.get(), threading.current_thread().name, connection.closed))

    with serving(stuck, limits=Limits(write_time=0.1, linger_time=0.2)) as server, client_of(server, 4096):
        until(lambda: server.stats().total == 1 and server.stats().open == 0)
        until(lambda: bool(ended))
        assert ended == [("Zoé", "prise-server", True)]
        until(lambda: errors(server.stats()) == {"too_slow": 1})


def test_the_reason_of_a_refusal_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def sleeper(connection: prise.AsyncConnection) -> None:
        import asyncio

        await asyncio.sleep(1)

    with caplog.at_level(logging.ERROR, "prise"):
        assert errors(talk(sleeper, "select", b"")[1]) == {"conversation": 1}
    (record,) = caplog.records
    assert record.exc_info is not None
    error = record.exc_info[1]
    assert isinstance(error, prise.SpellingError)
    assert isinstance(error.__cause__, RuntimeError)
