"""Conversations over UDP: the same as over TCP, a session for each peer, each datagram a message."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

import prise
from blocking_support import PATIENCE, until
from prise import Limits

BLOCKING = [("threads", "function"), ("processes", "function")]
SPELLED = [(model, spelling) for model in ("threads", "processes") for spelling in ("generator", "coroutine")]
LOOPED = [(model, spelling) for model in ("select", "asyncio") for spelling in ("generator", "coroutine")]
ALL = pytest.mark.parametrize(("model", "spelling"), BLOCKING + SPELLED + LOOPED)
MODELS = pytest.mark.parametrize(
    ("model", "spelling"), [*BLOCKING, ("select", "generator"), ("select", "coroutine"), ("asyncio", "coroutine")]
)
LIMITS = Limits(linger_time=0.2)


# -- Conversations, each in three spellings ------------------------------------------------------------------------------


def function(connection: Any) -> None:
    """Counts what it is told; "bye" ends it."""
    count = 0
    for message in connection:
        count += 1
        if message == "bye":
            break
        connection.send(f"{count} {message}")
    connection.send(f"{count} in all")


def generator(connection: Any) -> Any:
    count, reply = 0, None
    try:
        while True:
            message = yield reply
            count += 1
            if message == "bye":
                break
            reply = f"{count} {message}"
    except GeneratorExit:
        pass
    return f"{count} in all"


async def coroutine(connection: Any) -> None:
    count = 0
    async for message in connection:
        count += 1
        if message == "bye":
            break
        await connection.send(f"{count} {message}")
    await connection.send(f"{count} in all")


def serve(model: str, spelling: str, where: str = "udp:127.0.0.1:0", limits: Limits = LIMITS, **more: Any) -> Any:
    return prise.listen(globals()[spelling], where, model=model, limits=limits, **more)


@contextmanager
def bare(server: Any = None, host: str = "127.0.0.1", family: int = socket.AF_INET) -> Iterator[socket.socket]:
    """A plain socket of a peer."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        if server is not None:
            sock.connect((host, server.address.port))
        yield sock


def ask(sock: socket.socket, data: bytes) -> bytes:
    sock.send(data)
    return sock.recv(65536)


# -- The conversation ----------------------------------------------------------------------------------------------------


@ALL
def test_the_conversation_of_tcp(model: str, spelling: str) -> None:
    """Each peer has a session of its own, and what it returns is its last word."""
    with (
        serve(model, spelling) as server,
        prise.connect(server.address) as one,
        prise.connect(server.address) as two,
    ):
        assert server.address.scheme == "udp"
        assert one.ask("a", timeout=PATIENCE) == "1 a"
        assert two.ask("b", timeout=PATIENCE) == "1 b"
        assert one.ask("é", timeout=PATIENCE) == "2 é"
        assert one.ask("bye", timeout=PATIENCE) == "3 in all"
        assert two.ask("still here", timeout=PATIENCE) == "2 still here"
        until(lambda: server.stats().open == 1, "the first session is over")
        assert one.ask("again", timeout=PATIENCE) == "1 again"  # a new one
        assert server.stats().total == 3


@ALL
def test_an_empty_datagram_is_a_message_and_no_end(model: str, spelling: str) -> None:
    with serve(model, spelling) as server, bare(server) as peer:
        assert ask(peer, b"") == b"1 \n"
        assert ask(peer, b"") == b"2 \n"
        assert ask(peer, b"x\n") == b"3 x\n"


@ALL
def test_many_at_once_are_answered_in_order(model: str, spelling: str) -> None:
    """They wait in the kernel, or in the session's queue: several are read in a turn."""
    with serve(model, spelling) as server, bare(server) as peer:
        for number in range(50):
            peer.send(b"%d" % number)
        assert [peer.recv(100) for _ in range(50)] == [b"%d %d\n" % (number + 1, number) for number in range(50)]


@ALL
def test_stop_and_drain_end_the_sessions(model: str, spelling: str) -> None:
    """For the conversation it is the end of its input, so it has a last word."""
    with bare() as peer:
        with serve(model, spelling) as server:
            peer.connect(("127.0.0.1", server.address.port))
            assert ask(peer, b"x") == b"1 x\n"
            assert server.drain(PATIENCE).open == 0
        assert peer.recv(100) == b"1 in all\n"
    with serve(model, spelling) as server, bare(server) as peer:
        assert ask(peer, b"x") == b"1 x\n"
        server.stop()
        assert server.stats().open == 0
        with bare() as again:
            again.bind(("127.0.0.1", server.address.port))  # the port is free


@MODELS
def test_silence_ends_a_session(model: str, spelling: str) -> None:
    """UDP has no other end; it is nobody's fault, so it is no error."""
    with serve(model, spelling, limits=Limits(idle_time=0.1)) as server, bare(server) as peer:
        assert ask(peer, b"x") == b"1 x\n"
        assert peer.recv(100) == b"1 in all\n"
        until(lambda: server.stats().open == 0, "the session is over")
        assert not any(server.stats().errors.values())
        assert ask(peer, b"y") == b"1 y\n"


@pytest.mark.parametrize("model", ["select", "asyncio", "threads", "processes"])
def test_several_workers(model: str) -> None:
    """The kernel gives each peer to one of them, and always to the same."""
    with ExitStack() as stack:
        server = stack.enter_context(serve(model, "generator", workers=2))
        peers = [stack.enter_context(bare(server)) for _ in range(8)]
        for count in (1, 2, 3):
            for peer in peers:
                assert ask(peer, b"x") == b"%d x\n" % count
        until(lambda: server.stats().total == 8, "all counted")


def test_an_asynchronous_client() -> None:
    async def main(address: Any) -> list[Any]:
        async with prise.connect(address) as client:
            await client.send("")
            return [await client.receive(PATIENCE), await client.ask("x", timeout=PATIENCE)]

    with serve("select", "generator") as server:
        assert asyncio.run(main(server.address)) == ["1 ", "2 x"]


def test_json_and_bytes() -> None:
    """A framing's own header would say twice where a message ends: the datagram is the message."""

    def double(connection: Any) -> Any:
        reply = None
        while True:
            message = yield reply
            reply = message + message

    for framing, said, answer in [("lines | json", b"[1]", b"[1,1]\n"), ("prefixed:4", b"ab", b"abab")]:
        with prise.listen(double, "udp:127.0.0.1:0", framing=framing) as server, bare(server) as peer:
            assert ask(peer, said) == answer


# -- Bounds --------------------------------------------------------------------------------------------------------------


@MODELS
def test_the_table_is_bounded(model: str, spelling: str) -> None:
    """Nobody can be told to wait, so the datagrams of one more peer are dropped and counted."""
    with ExitStack() as stack:
        server = stack.enter_context(serve(model, spelling, limits=Limits(connections=2)))
        one, two, three = (stack.enter_context(bare(server)) for _ in range(3))
        assert ask(one, b"x") == ask(two, b"x") == b"1 x\n"
        three.send(b"x")
        until(lambda: server.stats().refused["sessions"] == 1, "the third is refused")
        assert ask(one, b"bye") == b"2 in all\n"
        until(lambda: server.stats().open == 1, "a place is free")
        assert ask(three, b"y") == b"1 y\n"
        assert ask(two, b"y") == b"2 y\n"


@MODELS
def test_one_address_has_so_many_sessions(model: str, spelling: str) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(serve(model, spelling, limits=Limits(connections_per_peer=1)))
        one, two = (stack.enter_context(bare(server)) for _ in range(2))
        assert ask(one, b"x") == b"1 x\n"
        two.send(b"x")
        until(lambda: server.stats().refused["per_peer"] == 1, "the second is refused")


gate = threading.Event()


def held(connection: Any) -> None:
    """Is busy until the gate opens."""
    message = connection.receive()
    connection.send(f"busy with {message}")
    gate.wait(PATIENCE)
    for message in connection:
        connection.send(message)


async def held_coroutine(connection: Any) -> None:
    message = await connection.receive()
    await connection.send(f"busy with {message}")
    while not gate.is_set():
        await asyncio.sleep(0.01)
    async for message in connection:
        await connection.send(message)


@pytest.mark.parametrize(("model", "conversation"), [("threads", held), ("asyncio", held_coroutine)])
def test_of_what_waits_too_long_the_oldest_is_dropped(model: str, conversation: Callable[[Any], Any]) -> None:
    """The newest say most. Each that is dropped is counted."""
    gate.clear()
    sent = 200
    with (
        prise.listen(conversation, "udp:127.0.0.1:0", model=model, limits=Limits(datagram_queue=40_000)) as server,
        bare(server) as peer,
    ):
        assert ask(peer, b"0") == b"busy with 0\n"
        for number in range(sent):
            peer.send(b"%04d" % number + bytes(1996))
            if number % 20 == 19:  # so that nothing waits in the kernel's queue, which drops the newest
                until(lambda: server.stats().bytes_received >= 0 and _idle(server), "read")
        until(lambda: server.stats().dropped["queue"] > 0, "dropped")
        gate.set()
        got = [int(peer.recv(4000)[:4])]
        while got[-1] != sent - 1:
            got.append(int(peer.recv(4000)[:4]))
        assert got == list(range(sent - len(got), sent))
        assert server.stats().dropped["queue"] == sent - len(got) > 100


def _idle(server: Any) -> bool:
    """Nothing waits at the server's socket (proc(5))."""
    with open("/proc/net/udp", encoding="ascii") as lines:
        for line in list(lines)[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == server.address.port:
                return int(fields[4].rpartition(":")[2], 16) == 0
    return True


def flooding(connection: Any) -> Any:
    message = yield None
    if message == "secret":
        connection.vouch()
    for number in range(50):
        connection.send(str(number).rjust(999))
    yield None


@pytest.mark.parametrize("model", ["threads", "processes", "select", "asyncio"])
def test_a_peer_is_not_sent_much_more_than_came_from_it(model: str) -> None:
    """Its address may be forged. 28 bytes of headers count on both sides: 10 x (72 + 28) is enough for one of 1,028.

    Not any number of datagrams lifts the bound, since all may be forged: the conversation does (`vouch`), when it has had
    back something secret that it had sent there.
    """
    limits = Limits(amplification=11)
    with prise.listen(flooding, "udp:127.0.0.1:0", model=model, limits=limits) as server, bare(server) as peer:
        assert ask(peer, bytes(72)) == b"0".rjust(999) + b"\n"
        until(lambda: server.stats().dropped["amplification"] == 49, "49 dropped")
    with prise.listen(flooding, "udp:127.0.0.1:0", model=model, limits=limits) as server, bare(server) as peer:
        peer.send(b"secret")
        assert [int(peer.recv(1000)) for _ in range(50)] == list(range(50))
    with (
        prise.listen(flooding, "udp:127.0.0.1:0", model=model, limits=Limits(amplification=None)) as server,
        bare(server) as peer,
    ):
        peer.send(b"x")
        assert [int(peer.recv(1000)) for _ in range(50)] == list(range(50))


@MODELS
def test_too_large_and_not_text_are_dropped_and_counted(model: str, spelling: str) -> None:
    """The next datagram is as good as any."""
    with serve(model, spelling, limits=Limits(message_size=100)) as server, bare(server) as peer:
        for data in (b"x" * 100, b"x" * 102, b"\xff", b"x" * 60_000, b"y"):
            peer.send(data)
        assert peer.recv(1000) == b"1 " + b"x" * 100 + b"\n"
        assert peer.recv(1000) == b"2 y\n"
        until(lambda: server.stats().dropped["too_large"] == 2, "counted")
        stats = server.stats()
        assert stats.dropped["malformed"] == 1
        assert not any(stats.errors.values())


def test_the_largest_datagram_there_is() -> None:
    """None is cut: the buffer is larger than any."""
    with serve("select", "generator") as server, bare(server) as peer:
        assert ask(peer, b"x" * 65_503) == b"1 " + b"x" * 65_503 + b"\n"


# -- Where answers come from -----------------------------------------------------------------------------------------------


@MODELS
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_the_answer_comes_from_the_address_that_was_asked(model: str, spelling: str, host: str) -> None:
    """A connected peer would not hear it otherwise."""
    with serve(model, spelling, "udp:0.0.0.0:0") as server, bare(server, host) as peer:
        assert ask(peer, b"x") == b"1 x\n"
        assert ask(peer, b"bye") == b"2 in all\n"


@MODELS
def test_ipv6(model: str, spelling: str) -> None:
    with serve(model, spelling, "udp:[::]:0") as server, bare(server, "::1", socket.AF_INET6) as peer:
        assert ask(peer, b"x") == b"1 x\n"


@pytest.mark.parametrize("model", ["threads", "select"])
def test_the_conversation_knows_both_ends(model: str) -> None:
    def ends(connection: Any) -> Any:
        yield None
        yield f"{connection.local} {connection.peer}"

    with prise.listen(ends, "udp:0.0.0.0:0", model=model) as server, bare(server, "127.0.0.3") as peer:
        assert ask(peer, b"x" * 20).decode() == (
            f"udp:127.0.0.3:{server.address.port} udp:127.0.0.1:{peer.getsockname()[1]}\n"
        )


# -- Clients ---------------------------------------------------------------------------------------------------------------


def nobody() -> str:
    with bare() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"udp:127.0.0.1:{sock.getsockname()[1]}"


def test_nobody_listens() -> None:
    """ICMP says so, to whoever waits for an answer; as with TCP, `receive` takes it for the end and `lost` knows why."""
    address = nobody()
    with prise.connect(address) as client:
        with pytest.raises(prise.ConnectionLost, match="nothing listens there") as caught:
            client.ask("hello", timeout=PATIENCE)
        assert str(caught.value.peer) == address
    with prise.connect(address) as client:
        client.send("hello")
        assert client.receive(PATIENCE) is None
        assert "nothing listens there" in str(client.lost)


def test_nobody_listens_for_an_asynchronous_client() -> None:
    async def main() -> None:
        async with prise.connect(nobody()) as client:
            with pytest.raises(prise.ConnectionLost, match="nothing listens there"):
                await client.ask("hello", timeout=PATIENCE)

    asyncio.run(main())


def test_more_than_fits_into_a_datagram_is_not_sent() -> None:
    with serve("select", "generator") as server, prise.connect(server.address) as client:
        with pytest.raises(prise.UsageError, match="65508 bytes does not fit into one packet"):
            client.send("x" * 65_507)  # and a newline
        assert client.ask("x", timeout=PATIENCE) == "1 x"  # nothing had been sent


def test_an_answer_that_does_not_fit_is_the_conversations_mistake() -> None:
    def large(connection: Any) -> Any:
        message = yield None
        try:
            while True:
                message = yield message * 1000
        except prise.UsageError as error:
            return str(error)

    limits = Limits(amplification=None)
    with prise.listen(large, "udp:127.0.0.1:0", limits=limits) as server, bare(server) as peer:
        assert b"a message of 100001 bytes does not fit into one packet" in ask(peer, b"x" * 100)


def test_a_client_hears_nobody_else() -> None:
    with serve("select", "generator") as server, prise.connect(server.address) as client, bare() as other:
        other.sendto(b"forged", ("127.0.0.1", client.local.port))
        assert client.ask("x", timeout=PATIENCE) == "1 x"


# -- To many -----------------------------------------------------------------------------------------------------------------


def test_broadcast_only_when_asked() -> None:
    with bare() as listener:
        listener.bind(("", 0))
        where = f"127.255.255.255:{listener.getsockname()[1]}"
        with pytest.raises(prise.ConnectError, match=rf"is a broadcast address.* write udp,broadcast:{where}"):
            prise.connect(f"udp:{where}").open()
        with prise.connect(f"udp,broadcast:{where}") as client:
            client.send("everybody")
            data, sender = listener.recvfrom(100)
            assert data == b"everybody\n"
            listener.sendto(b"me\n", sender)  # from another address than was sent to
            assert client.receive(PATIENCE) == "me"


def test_a_server_hears_broadcasts_and_answers_from_its_own_address() -> None:
    with (
        serve("select", "generator", "udp:*:0") as server,
        prise.connect(f"udp,broadcast:127.255.255.255:{server.address.port}") as client,
    ):
        assert client.ask("x", timeout=PATIENCE) == "1 x"


GROUP = "239.255.76.67"


@MODELS
def test_multicast(model: str, spelling: str) -> None:
    """Who is in the group hears, on the interface that was named; and answers by itself."""
    with (
        serve(model, spelling, f"udp,interface=lo:{GROUP}:0") as server,
        prise.connect(f"udp,interface=lo,ttl=1:{GROUP}:{server.address.port}") as client,
    ):
        assert client.ask("x", timeout=PATIENCE) == "1 x"
        assert client.ask("y", timeout=PATIENCE) == "2 y"


def test_a_server_in_a_group_besides() -> None:
    with (
        serve("select", "generator", f"udp,group={GROUP},interface=lo:0.0.0.0:0") as server,
        prise.connect(f"udp,interface=lo:{GROUP}:{server.address.port}") as many,
        bare(server) as one,
    ):
        assert many.ask("x", timeout=PATIENCE) == "1 x"
        assert ask(one, b"x") == b"1 x\n"


def test_ttl_and_loop() -> None:
    with prise.connect(f"udp,interface=lo,ttl=3,loop=no:{GROUP}:9") as client:
        with socket.socket(fileno=os.dup(client.fileno())) as sock:
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 3
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP) == 0
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 3


def ipv6_multicast_interface() -> str:
    """One with a route for ff00::/8; the loopback interface has none by itself."""
    with open("/proc/net/ipv6_route", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("ff" + "0" * 30 + " 08 "):
                return line.split()[-1]
    pytest.skip("no interface of this machine carries IPv6 multicast")


def test_multicast_over_ipv6() -> None:
    """ff11: the group of one interface, so nothing leaves this machine."""
    group = f"udp,interface={ipv6_multicast_interface()},ttl=0:[ff11::7667]"
    with (
        serve("select", "generator", f"{group}:0") as server,
        prise.connect(f"{group}:{server.address.port}") as client,
    ):
        assert client.ask("x", timeout=PATIENCE) == "1 x"


def test_an_interface_that_there_is_not() -> None:
    with pytest.raises(prise.AddressError, match=r"no network interface called nosuch; it has: .*lo"):
        prise.connect(f"udp,interface=nosuch:{GROUP}:9").open()
    with pytest.raises(prise.AddressError, match="no network interface called nosuch"):
        prise.listen(generator, f"udp,interface=nosuch:{GROUP}:0").start()


def test_what_is_left_in_the_kernel_tells_nothing_of_the_peer() -> None:
    """ICMP about one peer that has gone away does not disturb the others."""
    with serve("select", "generator") as server, bare(server) as one:
        for _ in range(5):
            with bare(server) as gone:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                gone.send(b"x")
        assert ask(one, b"x") == b"1 x\n"
        assert ask(one, b"y") == b"2 y\n"
        assert not any(server.stats().errors.values())
