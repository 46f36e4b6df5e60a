"""What every model must do, whichever way a conversation is spelled and its bytes are carried: one suite for all.

Each case is a function that is given a `Setting` and raises AssertionError when the promise is not kept. `CASES` is the table
of them. In a test of your own:

    @pytest.mark.parametrize("case", conformance.CASES, ids=lambda case: case.__name__)
    @pytest.mark.parametrize("setting", conformance.settings("127.0.0.1:0"), ids=str)
    def test_model(case, setting):
        case(setting)

A case serves one of the conversations below and talks to it as a client would, over real connections. It never sleeps: it
waits for bytes, or for the server's counts (bounded by PATIENCE seconds).

Not every transport can keep every promise: a datagram has no end of input. What a case needs is written above it
(`needs`), what a transport has is in `TRAITS`, and `cases_for(setting)` puts the two together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from prise.address import Address
from prise.clients.connect import Connector, connect
from prise.connection.blocking import Connection
from prise.core.limits import Limits
from prise.errors import ConnectionLost, FrameError, PeerError, TooSlow
from prise.servers.server import Server, listen

PATIENCE = 10.0
BIG = 300_000
PART = "x" * 20_000  # what fills buffers: large, so that it is not the number of messages that takes the time

TRAITS: dict[str, frozenset[str]] = {
    scheme: frozenset(traits.split())
    for scheme, traits in {
        "tcp": "stream half-close ends greets reliable large peers bare",
        "tls": "stream half-close ends greets reliable large peers",
        "mem": "stream half-close ends greets reliable large bare",
        "unix": "stream half-close ends greets reliable large bare",
        "unix-seqpacket": "half-close ends greets reliable bare",
        "unix-dgram": "bare",
        "ws": "ends greets reliable large peers",
        "wss": "ends greets reliable large peers",
        "udp": "peers bare",
        "vsock": "stream half-close ends greets reliable large bare",
    }.items()
}
"""What a transport has.

stream: bytes without boundaries. half-close: one side can end and still hear answers. ends: a side sees that the other has
ended. greets: a server hears of a client before the client says anything. reliable: nothing is lost. large: a message may have
any size. peers: those of one machine can be told from those of another. bare: no layer adds bytes of its own.
"""

Case = Callable[["Setting"], None]


def needs(*traits: str) -> Callable[[Case], Case]:
    """The case makes sense only on transports that have these traits."""

    def note(case: Case) -> Case:
        case.needs = frozenset(traits)  # type: ignore[attr-defined]
        return case

    return note


# -- the conversations, in three spellings -------------------------------------------------------------------------------


def echo_function(connection: Any) -> None:
    for message in connection:
        connection.send(message)


def echo_generator(connection: Any) -> Any:
    reply = None
    while True:
        reply = yield reply


async def echo_coroutine(connection: Any) -> None:
    async for message in connection:
        await connection.send(message)


def form_function(connection: Any) -> None:
    name = connection.ask("name?")
    while (line := connection.receive()) not in ("FIN", None):
        connection.send(f"{name}: {line}")
    connection.send("goodbye")


def form_generator(connection: Any) -> Any:
    name = yield "name?"
    line = yield None
    while line != "FIN":
        line = yield f"{name}: {line}"
    return "goodbye"


async def form_coroutine(connection: Any) -> None:
    name = await connection.ask("name?")
    while (line := await connection.receive()) not in ("FIN", None):
        await connection.send(f"{name}: {line}")
    await connection.send("goodbye")


def broken_function(connection: Any) -> None:
    for message in connection:
        connection.send("before")
        raise RuntimeError(message)


def broken_generator(connection: Any) -> Any:
    message = yield None
    connection.send("before")
    raise RuntimeError(message)


async def broken_coroutine(connection: Any) -> None:
    async for message in connection:
        await connection.send("before")
        raise RuntimeError(message)


def tail_function(connection: Any) -> None:
    count = sum(1 for _ in connection)
    connection.send(f"{count} lines")


def tail_generator(connection: Any) -> Any:
    count = 0
    try:
        while True:
            yield None
            count += 1
    except GeneratorExit:
        return f"{count} lines"


async def tail_coroutine(connection: Any) -> None:
    count = 0
    async for _ in connection:
        count += 1
    await connection.send(f"{count} lines")


def flood_function(connection: Any) -> None:
    for message in connection:
        for _ in range(int(message)):
            connection.send(PART)


def flood_generator(connection: Any) -> Any:
    message = yield None
    for _ in range(int(message)):
        connection.send(PART)
    yield None


async def flood_coroutine(connection: Any) -> None:
    async for message in connection:
        for _ in range(int(message)):
            await connection.send(PART)


def numbered_function(connection: Any) -> None:
    for number, message in enumerate(connection, 1):
        connection.send(f"{number} {message}")


def numbered_generator(connection: Any) -> Any:
    reply = None
    for number in range(1, 1000):
        message = yield reply
        reply = f"{number} {message}"


async def numbered_coroutine(connection: Any) -> None:
    number = 0
    async for message in connection:
        number += 1
        await connection.send(f"{number} {message}")


def last_function(connection: Any) -> None:
    connection.send("thank you for connecting")


def last_generator(connection: Any) -> Any:
    return "thank you for connecting"
    yield


async def last_coroutine(connection: Any) -> None:
    await connection.send("thank you for connecting")


# -- where a case runs ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """A model, a spelling, workers, and the address to serve on; prints as a test's name.

    trust: the `TLS` of clients, where the server's certificate is not one that everybody trusts.
    """

    model: str
    spelling: str
    workers: int
    address: str
    trust: Any = None

    def __str__(self) -> str:
        return f"{self.model}-{self.spelling}-{self.transport}{'-workers' if self.workers > 1 else ''}"

    @property
    def transport(self) -> str:
        """The key in TRAITS."""
        where = Address.parse(self.address)
        kind = where.option("type", "stream")
        return where.scheme if kind == "stream" else f"{where.scheme}-{kind}"

    @property
    def traits(self) -> frozenset[str]:
        return TRAITS[self.transport]

    def connect(self, server: Server, **options: Any) -> Connector:
        """A client of the server."""
        if self.transport == "unix-dgram" or self.transport == "unix-seqpacket":
            kind = self.transport.removeprefix("unix-")
            address: Any = f"unix,type={kind}:{server.address.path}"
        else:
            address = server.address
        return connect(address, tls=self.trust, **options)

    def serve(self, name: str, **options: Any) -> Server:
        """Serves the conversation `name` in this setting's spelling."""
        limits = options.pop("limits", Limits(linger_time=0.2))
        return listen(
            globals()[f"{name}_{self.spelling}"],
            self.address,
            model=self.model,
            workers=self.workers,
            limits=limits,
            **options,
        )


def settings(*addresses: str, trust: Any = None) -> list[Setting]:
    """Every combination of model and spelling that exists, on each address, with and without workers."""
    return [
        Setting(model, spelling, workers, address, trust)
        for address in addresses
        for model in ("threads", "processes", "select", "asyncio")
        for spelling in ("function", "generator", "coroutine")
        for workers in (1, 2)
        if spelling != "function" or model in ("threads", "processes")
    ]


def _until(condition: Callable[[], bool], what: str) -> None:
    """Waits for something that a server will do by itself; there is no event for it across processes."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.005)


def _send(connection: Connection, data: bytes) -> None:
    """Bytes that no framing would send, through the layers if there are any."""
    connection._send_bytes(data, 0)


def _heard(client: Connection) -> list[Any]:
    """All that comes. Where a layer tells the reason of the end (WebSocket's close code), that is the end as well."""
    messages = []
    try:
        for message in client:
            messages.append(message)
    except FrameError:
        pass
    return messages


# -- the cases -----------------------------------------------------------------------------------------------------------


def each_message_is_answered_in_order(setting: Setting) -> None:
    with setting.serve("echo") as server, setting.connect(server) as client:
        for number in range(20):
            assert client.ask(f"message {number} é", timeout=PATIENCE) == f"message {number} é"


@needs("reliable")
def pipelined_messages_are_all_answered(setting: Setting) -> None:
    with setting.serve("echo") as server, setting.connect(server) as client:
        for number in range(500):
            client.post(str(number))
        assert [client.receive(PATIENCE) for _ in range(500)] == [str(number) for number in range(500)]


@needs("stream")
def messages_in_one_piece_are_all_answered(setting: Setting) -> None:
    with setting.serve("echo") as server, setting.connect(server) as client:
        _send(client, b"".join(b"%d\n" % number for number in range(500)))
        assert [client.receive(PATIENCE) for _ in range(500)] == [str(number) for number in range(500)]


@needs("stream")
def split_messages_are_put_together(setting: Setting) -> None:
    with setting.serve("echo") as server, setting.connect(server) as client:
        for byte in "où\r\nça\n".encode():
            _send(client, bytes([byte]))
        assert [client.receive(PATIENCE), client.receive(PATIENCE)] == ["où", "ça"]


def each_peer_has_a_conversation_of_its_own(setting: Setting) -> None:
    with setting.serve("numbered") as server, setting.connect(server) as one, setting.connect(server) as other:
        assert [one.ask(each, timeout=PATIENCE) for each in "abc"] == ["1 a", "2 b", "3 c"]
        assert [other.ask(each, timeout=PATIENCE) for each in "xy"] == ["1 x", "2 y"]
        assert one.ask("d", timeout=PATIENCE) == "4 d"


@needs("greets")
def a_conversation_keeps_its_state(setting: Setting) -> None:
    with setting.serve("form") as server, setting.connect(server) as one, setting.connect(server) as other:
        for client, name in ((one, "Zoé"), (other, "Léo")):
            assert client.receive(PATIENCE) == "name?"
            client.send(name)
        assert other.ask("hello", timeout=PATIENCE) == "Léo: hello"
        assert one.ask("hello", timeout=PATIENCE) == "Zoé: hello"
        one.send("FIN")
        assert one.receive(PATIENCE) == "goodbye"
        assert one.receive(PATIENCE) is None
        assert other.ask("still here?", timeout=PATIENCE) == "Léo: still here?"


@needs("half-close")
def the_end_of_input_is_not_the_end_of_output(setting: Setting) -> None:
    with setting.serve("tail") as server, setting.connect(server) as client:
        for _ in range(3):
            client.send("line")
        client.send_eof()
        assert list(client) == ["3 lines"]


@needs("stream")
def an_unterminated_last_line_counts(setting: Setting) -> None:
    with setting.serve("echo") as server, setting.connect(server) as client:
        _send(client, b"a\nb")
        client.send_eof()
        assert list(client) == ["a", "b"]


@needs("ends")
def a_last_word_arrives_before_the_end(setting: Setting) -> None:
    with setting.serve("last") as server:
        for _ in range(5):
            with setting.connect(server) as client:
                client.send("something that nobody reads")
                assert list(client) == ["thank you for connecting"]


@needs("ends")
def a_conversation_that_raises_closes_its_own_connection_only(setting: Setting) -> None:
    with setting.serve("broken") as server, setting.connect(server) as other:
        with setting.connect(server) as client:
            client.send("boom")
            assert _heard(client) == ["before"]
        other.send("boom too")
        assert _heard(other) == ["before"]
        _until(lambda: server.stats().errors["conversation"] == 2, "two failed conversations counted")


@needs("stream")
def a_message_over_the_limit_ends_that_connection(setting: Setting) -> None:
    limits = Limits(message_size=1000, linger_time=0.2)
    with setting.serve("echo", limits=limits) as server, setting.connect(server) as other:
        with setting.connect(server) as client:
            _send(client, b"fine\n" + b"x" * 5000)
            assert list(client) == ["fine"]
        assert other.ask("x" * 1000, timeout=PATIENCE) == "x" * 1000
        _until(lambda: server.stats().errors["frame"] == 1, "one frame error counted")


@needs("ends")
def bytes_that_are_not_text_end_that_connection(setting: Setting) -> None:
    with setting.serve("echo") as server, setting.connect(server) as client:
        for line in (b"good\n", b"bad \xff\n", b"never\n"):
            _send(client, line)
        assert _heard(client) == ["good"]
        _until(lambda: server.stats().errors["frame"] == 1, "one frame error counted")


@needs("ends")
def a_silent_peer_is_let_go(setting: Setting) -> None:
    limits = Limits(idle_time=0.1, linger_time=0.2)
    with setting.serve("echo", limits=limits) as server, setting.connect(server) as client:
        assert _heard(client) == []
        _until(lambda: server.stats().errors["too_slow"] == 1, "one slow peer counted")


@needs("stream", "ends")
def a_byte_now_and_then_is_not_progress(setting: Setting) -> None:
    limits = Limits(message_time=0.15, idle_time=5.0, linger_time=0.2)
    with setting.serve("echo", limits=limits) as server, setting.connect(server) as client:
        began = time.monotonic()
        assert client.ask("in time", timeout=PATIENCE) == "in time"
        ended = False
        while not ended:
            assert time.monotonic() - began < PATIENCE
            try:
                _send(client, b"x")
                ended = client.receive(timeout=0.03) is None
            except TooSlow:
                continue
            except ConnectionLost:
                ended = True
        _until(lambda: server.stats().errors["too_slow"] == 1, "one slow peer counted")


@needs("stream")
def a_peer_that_never_reads_is_given_up(setting: Setting) -> None:
    limits = Limits(write_time=0.15, outbox_size=64 * 1024 * 1024, linger_time=0.2)
    with setting.serve("flood", limits=limits) as server, setting.connect(server) as other:
        with setting.connect(server) as client:
            client.send(str(20_000_000 // len(PART)))
            _until(lambda: server.stats().errors["too_slow"] == 1, "one slow peer counted")
        other.send("1")
        assert other.receive(PATIENCE) == PART


@needs("stream")
def a_peer_that_does_not_read_is_not_read_from(setting: Setting) -> None:
    chunk, most = PART.encode() + b"\n", 64 * 1024 * 1024
    with setting.serve("echo") as server, setting.connect(server) as client:
        sent = 0

        def fill() -> None:
            nonlocal sent
            while sent < most:
                _send(client, chunk)
                sent += len(chunk)

        filling = threading.Thread(target=fill, daemon=True)
        filling.start()
        seen = -1
        while not sent or seen != sent:  # until it moves no more
            seen = sent
            filling.join(0.1)
        assert sent < most, "the server took everything from a peer that reads nothing"
        most = sent
        for _ in range(sent // len(chunk)):  # and nothing was lost by it
            assert client.receive(PATIENCE) == PART
        filling.join(PATIENCE)


@needs("large")
def large_messages_pass_whole(setting: Setting) -> None:
    with setting.serve("echo") as server, setting.connect(server) as client:
        message = "é" * BIG
        for _ in range(3):
            assert client.ask(message, timeout=PATIENCE) == message


@needs("ends", "peers")
def a_peer_over_its_limit_is_refused_at_once(setting: Setting) -> None:
    if setting.workers > 1:
        return  # each worker counts for itself
    limits = Limits(connections_per_peer=2, linger_time=0.2)
    with setting.serve("echo", limits=limits) as server:
        with setting.connect(server) as one, setting.connect(server) as two:
            assert one.ask("1", timeout=PATIENCE) == two.ask("1", timeout=PATIENCE) == "1"
            try:
                with setting.connect(server) as three:
                    assert list(three) == []
            except PeerError:  # during a handshake there is somebody to be told
                pass
        _until(lambda: server.stats().open == 0, "all closed")
        with setting.connect(server) as four:
            assert four.ask("a place is free again", timeout=PATIENCE) == "a place is free again"
        assert server.stats().refused["per_peer"] == 1


@needs("ends")
def at_the_limit_the_others_wait_their_turn(setting: Setting) -> None:
    if setting.workers > 1:
        return
    limits = Limits(connections=1, linger_time=0.2)
    with setting.serve("echo", limits=limits) as server:
        with setting.connect(server) as one:
            assert one.ask("first", timeout=PATIENCE) == "first"
            answers: list[Any] = []

            def wait_in_line() -> None:
                with setting.connect(server) as two:
                    answers.append(two.ask("second", timeout=PATIENCE))

            waiting = threading.Thread(target=wait_in_line)
            waiting.start()
            waiting.join(0.1)
            assert waiting.is_alive()
            assert server.stats().total <= 1  # in another process it is counted a moment later
        waiting.join(PATIENCE)
        assert answers == ["second"]


@needs("ends")
def a_drain_lets_everybody_have_the_last_reply(setting: Setting) -> None:
    server = setting.serve("tail").start()
    clients = [setting.connect(server).open() for _ in range(10)]
    for client in clients:
        client.send("one")
        client.send("two")
    _until(lambda: server.stats().messages_received == 20, "all messages received")
    stats = server.drain(PATIENCE)
    for client in clients:
        with client:
            assert list(client) == ["2 lines"]
    assert stats.open == 0
    assert stats.total == 10


@needs("ends")
def a_stop_cuts(setting: Setting) -> None:
    server = setting.serve("echo").start()
    with setting.connect(server) as client:
        assert client.ask("hello", timeout=PATIENCE) == "hello"
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < PATIENCE
        assert list(client) == []


def counts_add_up(setting: Setting) -> None:
    with setting.serve("echo") as server:
        for _ in range(4):
            with setting.connect(server) as client:
                assert client.ask("12345", timeout=PATIENCE) == "12345"
        _until(lambda: server.stats().messages_sent == 4 and server.stats().bytes_sent >= 24, "all counted")
        if "ends" in setting.traits:
            _until(lambda: server.stats().open == 0, "all closed")
        stats = server.stats()
    assert stats == replace(stats, total=4, messages_received=4, messages_sent=4)
    if "bare" in setting.traits:
        assert stats.bytes_received == stats.bytes_sent == 4 * len("12345\n")
    assert not any(stats.errors.values())


def cases_for(setting: Setting) -> list[Case]:
    """The cases that make sense on the setting's transport."""
    return [case for case in CASES if getattr(case, "needs", frozenset()) <= setting.traits]


def _cases() -> Iterator[Case]:
    for value in globals().values():
        if callable(value) and getattr(value, "__annotations__", {}) == {"setting": "Setting", "return": "None"}:
            yield value


CASES: list[Case] = list(_cases())
