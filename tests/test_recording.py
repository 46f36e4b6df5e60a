"""Recordings of what passes a relay, and playing them again."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prise
from prise.relay import Relay
from prise.relay.recording import Event, Recorder, Recording, RecordingWriter
from prise.relay.replaying import Player, Replay, _same

PATIENCE = 20.0


def upper(connection: prise.Connection) -> None:
    """The server of these tests: lines come back in capitals, and the end is answered, too."""
    for line in connection:
        connection.send(line.upper())
    connection.send("bye")


def exchange(address: prise.Address, *lines: bytes) -> bytes:
    """A client that asks, waits for each answer, and ends."""
    with socket.create_connection(("127.0.0.1", address.port), PATIENCE) as sock, sock.makefile("rb") as file:
        answers = b""
        for line in lines:
            sock.sendall(line)
            answers += file.readline()
        sock.shutdown(socket.SHUT_WR)
        return answers + file.read()


def recorded(path: Path, *talks: tuple[bytes, ...]) -> Recording:
    """A recording of these talks, one after the other."""
    with prise.listen(upper, "127.0.0.1:0") as server:
        recorder = Recorder(str(path), {"b": str(server.address)})
        with Relay("127.0.0.1:0", server.address, taps=[recorder]) as relay:
            for talk in talks:
                exchange(relay.address, *talk)
        recorder.close()
    return Recording(str(path))


# The file


def test_a_recording_is_for_its_owner_alone(tmp_path):
    """Passwords go over connections."""
    with RecordingWriter(str(tmp_path / "talk.rec")):
        assert (tmp_path / "talk.rec").stat().st_mode & 0o777 == 0o600


def test_a_recording_is_lines_of_json(tmp_path):
    recorded(tmp_path / "r", (b"hello\n",))
    header, joined, *events = [json.loads(line) for line in (tmp_path / "r").read_text().splitlines()]
    assert (header["prise"], header["version"]) == ("recording", 1)
    assert (joined["c"], joined["server"]) == (1, header["b"])
    assert [{key: event[key] for key in event if key not in ("t", "c")} for event in events] == [
        {"from": "client", "data": "hello\n"},
        {"from": "server", "data": "HELLO\n"},
        {"from": "client", "end": True},
        {"from": "server", "data": "bye\n"},
        {"from": "server", "end": True},
    ]
    times = [event["t"] for event in events]
    assert times == sorted(times)


EVENTS = st.builds(
    Event,
    t=st.integers(0, 10**9).map(lambda number: number / 1e6),
    connection=st.integers(1, 1000),
    side=st.sampled_from(["client", "server"]),
    data=st.binary(max_size=200) | st.text(max_size=50).map(lambda text: text.encode(errors="surrogatepass")),
    end=st.booleans(),
    reset=st.booleans(),
)


@given(st.lists(EVENTS, max_size=8), st.integers(0, 200))
def test_what_is_written_is_read_and_a_torn_end_is_left_away(tmp_path_factory, events, torn):
    path = tmp_path_factory.mktemp("recordings") / "r"
    with RecordingWriter(str(path)) as writer:
        for event in events:
            writer.write(event)
    found = [_without_line(event) for event in Recording(str(path))]
    assert found == events
    data = path.read_bytes()
    header = data.index(b"\n") + 1
    path.write_bytes(data[: max(len(data) - torn, header)])
    assert [_without_line(event) for event in Recording(str(path))] == found[: len(path.read_bytes().splitlines()) - 1][
        : len(path.read_bytes().split(b"\n")) - 2
    ]


def _without_line(event: Event) -> Event:
    return Event(event.t, event.connection, event.side, event.data, event.end, event.reset, event.client, event.server)


def test_an_existing_file_is_not_written_over(tmp_path):
    (tmp_path / "r").write_text("mine")
    with pytest.raises(FileExistsError):
        RecordingWriter(str(tmp_path / "r"))
    assert (tmp_path / "r").read_text() == "mine"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"[]\n",
        b"{}\n",
        b'{"prise": "recording", "version": 2}\n',
        b"\xff\xfe\n",
        b"[" * 100_000,
    ],
)
def test_what_is_no_recording(tmp_path, content):
    (tmp_path / "r").write_bytes(content)
    with pytest.raises(prise.UsageError):
        Recording(str(tmp_path / "r"))


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"[]",
        b"{}",
        b'{"t": 1, "c": "x"}',
        b'{"t": 1, "c": 1, "from": "nobody"}',
        b'{"t": 1, "c": 1, "from": "client", "b64": "!"}',
        b'{"t": 1, "c": 1, "client": 5}',
        b'{"t": 1, "c": 1, "server": NaN}',
        b'{"t": 1e999, "c": 1}',
        b'{"t": 1, "c": 1e999}',
        b'{"t": ' + b"9" * 400 + b', "c": 1}',
    ],
)
def test_a_line_that_is_no_event_is_named(tmp_path, line):
    (tmp_path / "r").write_bytes(b'{"prise": "recording", "version": 1}\n' + line + b"\n")
    with pytest.raises(prise.UsageError, match="line 2"):
        list(Recording(str(tmp_path / "r")))


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_how_many_bytes_are_the_same(left, right):
    count = _same(left, right)
    assert left[:count] == right[:count]
    assert count == min(len(left), len(right)) or left[count] != right[count]


# Playing


def as_client(recording: Recording, conversation, **options) -> Replay:
    with prise.listen(conversation, "127.0.0.1:0") as server:
        return Player(recording, "client", server.address, speed=None, timeout=2.0, **options).run()


def test_playing_the_client_to_the_same_server(tmp_path):
    recording = recorded(tmp_path / "r", (b"one\n", b"two\n"), (b"three\n",))
    result = as_client(recording, upper)
    assert result.differences == []
    assert (result.connections, result.sent, result.received) == (2, 14, 22)


def test_the_first_difference_has_its_place(tmp_path):
    def lower(connection):
        for line in connection:
            connection.send(line.upper().replace("TWO", "TwO"))
        connection.send("bye")

    recording = recorded(tmp_path / "r", (b"one\n", b"two\n"))
    (difference,) = as_client(recording, lower).differences
    assert (difference.connection, difference.offset) == (1, 5)
    assert (difference.expected, difference.found) == (b"WO\n", b"wO\n")
    assert json.loads((tmp_path / "r").read_text().splitlines()[difference.line - 1])["data"] == "TWO\n"


def test_an_end_that_comes_too_early(tmp_path):
    def short(connection):
        connection.send(connection.receive().upper())

    recording = recorded(tmp_path / "r", (b"one\n", b"two\n"))
    (difference,) = as_client(recording, short).differences
    assert (difference.offset, difference.expected, difference.found) == (4, b"TWO\n", b"")


def test_more_than_was_said(tmp_path):
    def chatty(connection):
        upper(connection)
        connection.send("and another thing")

    recording = recorded(tmp_path / "r", (b"one\n",))
    (difference,) = as_client(recording, chatty).differences
    assert (difference.offset, difference.expected) == (8, b"")
    assert difference.found.startswith(b"and another")


def test_silence_is_a_difference_after_a_time(tmp_path):
    def silent(connection):
        for _ in connection:
            pass

    recording = recorded(tmp_path / "r", (b"one\n",))
    with prise.listen(silent, "127.0.0.1:0") as server:
        (difference,) = Player(recording, "client", server.address, speed=None, timeout=0.2).run().differences
    assert isinstance(difference.error, prise.TooSlow)


def test_playing_the_server_to_the_same_client(tmp_path):
    recording = recorded(tmp_path / "r", (b"one\n", b"two\n"))
    player = Player(recording, "server", "127.0.0.1:0", speed=None)
    (address,) = player.bind()
    answers: list[bytes] = []
    thread = threading.Thread(target=lambda: answers.append(exchange(address, b"one\n", b"two\n")))
    thread.start()
    assert player.run().differences == []
    thread.join(PATIENCE)
    assert answers == [b"ONE\nTWO\nbye\n"]


def test_playing_the_server_to_another_client(tmp_path):
    recording = recorded(tmp_path / "r", (b"one\n", b"two\n"))
    player = Player(recording, "server", "127.0.0.1:0", speed=None)
    (address,) = player.bind()
    with socket.socket() as sock:
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", address.port or 0))
        sock.sendall(b"one\ntoo\n")
        (difference,) = player.run().differences
    assert (difference.offset, difference.expected, difference.found) == (5, b"wo\n", b"oo\n")


def test_both_sides_of_a_recording_play_with_each_other(tmp_path):
    """Binary data, in pieces that differ, and connections that overlap."""
    path = tmp_path / "r"
    data = bytes(range(256)) * 2000
    with RecordingWriter(str(path)) as writer:
        for number in (1, 2):
            writer.write(Event(0.0, number, "client", data))
        for number in (2, 1):
            writer.write(Event(0.1, number, "server", data[::-1]))
            writer.write(Event(0.1, number, "client", end=True))
        for number in (1, 2):
            writer.write(Event(0.2, number, "server", b"!"))
            writer.write(Event(0.2, number, "server", end=True))
    recording = Recording(str(path))
    server = Player(recording, "server", "127.0.0.1:0", speed=None)
    (address,) = server.bind()
    results: list[Replay] = []
    thread = threading.Thread(target=lambda: results.append(server.run()))
    thread.start()
    client = Player(recording, "client", address, speed=None).run()
    thread.join(PATIENCE)
    assert client.differences == results[0].differences == []
    assert client.sent == results[0].received == 2 * len(data)


def test_at_real_speed_it_takes_as_long(tmp_path):
    import time

    with RecordingWriter(str(tmp_path / "r")) as writer:
        writer.write(Event(5.0, 1, client="a", server="b"))
        writer.write(Event(5.4, 1, "client", b"one\n"))
        writer.write(Event(5.4, 1, "server", b"ONE\n"))
    recording = Recording(str(tmp_path / "r"))
    took = {}
    for speed in (1.0, 4.0, None):
        with prise.listen(upper, "127.0.0.1:0") as server:
            began = time.monotonic()
            assert Player(recording, "client", server.address, speed=speed).run().differences == []
            took[speed] = time.monotonic() - began
    assert took[1.0] >= 0.4
    assert took[4.0] >= 0.1


def test_one_connection_of_several(tmp_path):
    recording = recorded(tmp_path / "r", (b"one\n",), (b"three\n",))
    assert as_client(recording, upper, connection=2).sent == 6
    with pytest.raises(prise.UsageError):
        Player(recording, "client", ":1", connection=3)


def test_nobody_there(tmp_path):
    recording = recorded(tmp_path / "r", (b"one\n",))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(prise.ConnectError):
            Player(recording, "client", f"127.0.0.1:{free.getsockname()[1]}").run()
    with pytest.raises(prise.TooSlow):
        Player(recording, "server", "127.0.0.1:0", timeout=0.1).run()
