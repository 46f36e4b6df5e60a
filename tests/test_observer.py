"""`serve(observer=...)`: what is called for each connection, in every model; and spans of OpenTelemetry made of it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prise
from blocking_support import PATIENCE, RESET, until
from metrics_support import MODELS, blocks, echo, listen, raw
from prise.observe import Observer


class Recorder(Observer):
    """Writes down what it is told, to a file: some models run conversations in other processes."""

    def __init__(self, path: Path, fails: bool = False) -> None:
        self._path = path
        self._fails = fails

    def _note(self, *words: object) -> None:
        with self._path.open("a") as file:
            file.write(" ".join(map(str, words)) + "\n")
        if self._fails:
            raise RuntimeError("this observer fails")

    def opened(self, connection: prise.BaseConnection) -> None:
        self._note("opened", connection.peer.host)

    def failed(self, connection: prise.BaseConnection, error: Exception) -> None:
        self._note("failed", type(error).__name__)

    def closed(self, connection: prise.BaseConnection) -> None:
        self._note("closed", connection.peer.host)

    def lines(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []


def leave(client: socket.socket) -> None:
    client.sendall(b"x\n")


def crash(client: socket.socket) -> None:
    client.sendall(b"crash\n")
    client.recv(1)


def too_long(client: socket.socket) -> None:
    client.sendall(b"x" * 200)
    client.recv(1)


def reset(client: socket.socket) -> None:
    client.sendall(b"x\n")
    assert client.recv(10) == b"x\n"
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("act", "failure"),
    [(leave, []), (crash, ["RuntimeError"]), (too_long, ["MessageTooLarge"]), (reset, ["ConnectionLost"])],
)
def test_an_observer_hears_of_every_connection(
    tmp_path: Path, model: str, act: Callable[[socket.socket], None], failure: list[str]
) -> None:
    recorder = Recorder(tmp_path / "seen")
    limits = prise.Limits(message_size=100, linger_time=0.2)
    with listen(model, observer=recorder, limits=limits) as server:
        with raw(server) as client:
            act(client)
        until(lambda: "closed 127.0.0.1" in recorder.lines(), "it is over")
    assert recorder.lines() == ["opened 127.0.0.1", *(f"failed {each}" for each in failure), "closed 127.0.0.1"]


async def ends_badly(connection: Any) -> None:
    try:
        async for line in connection:
            await connection.send(line)
    finally:
        raise RuntimeError("at the end")


def ends_badly_as_a_generator(connection: prise.GeneratorConnection) -> Any:
    try:
        line = yield
        while True:
            line = yield line
    finally:
        raise RuntimeError("at the end")


@pytest.mark.parametrize("conversation", [ends_badly, ends_badly_as_a_generator])
@pytest.mark.parametrize("model", ["threads", "select", "asyncio"])
def test_closed_is_the_last_word_also_for_a_conversation_that_fails_when_it_is_cut(
    tmp_path: Path, model: str, conversation: Any
) -> None:
    recorder = Recorder(tmp_path / "seen")
    with listen(model, conversation, observer=recorder) as server, raw(server) as client:
        client.sendall(b"x\n")
        assert client.recv(10) == b"x\n"
        server.stop()
    assert recorder.lines() == ["opened 127.0.0.1", "failed RuntimeError", "closed 127.0.0.1"]


@pytest.mark.parametrize("model", ["threads", "select", "asyncio"])
def test_closed_is_the_last_word_also_for_a_peer_that_takes_nothing(tmp_path: Path, model: str) -> None:
    async def tell(connection: Any) -> None:
        await connection.send("x" * 10_000_000)
        await connection.send("more")

    recorder = Recorder(tmp_path / "seen")
    limits = prise.Limits(write_time=0.1, linger_time=0.1)
    with listen(model, tell, observer=recorder, limits=limits) as server, raw(server):
        until(lambda: len(recorder.lines()) == 3, "it is over")
    assert recorder.lines() == ["opened 127.0.0.1", "failed TooSlow", "closed 127.0.0.1"]


async def movable(connection: Any) -> None:
    connection.state = {}
    async for line in connection:
        await connection.send(line)


def movable_generator(connection: prise.GeneratorConnection) -> Any:
    connection.state = {}
    line = yield
    while True:
        line = yield line


@pytest.mark.parametrize("conversation", [movable, movable_generator])
@pytest.mark.parametrize("model", ["select", "asyncio"])
def test_a_connection_that_moves_is_closed_in_the_old_release_and_opened_in_the_new_one(
    tmp_path: Path, model: str, conversation: Any
) -> None:
    before, after = Recorder(tmp_path / "before"), Recorder(tmp_path / "after")
    take = str(tmp_path / "take")
    with listen(model, conversation, handover=take, observer=before) as old, raw(old) as client:
        client.sendall(b"x\n")
        assert client.recv(10) == b"x\n"
        with listen(model, conversation, handover=take, observer=after):
            old.drain()
            client.sendall(b"y\n")
            assert client.recv(10) == b"y\n"
            assert before.lines() == ["opened 127.0.0.1", "closed 127.0.0.1"]
            assert after.lines() == ["opened 127.0.0.1"]
            client.close()
            until(lambda: len(after.lines()) == 2, "it is over")


@pytest.mark.parametrize("model", MODELS)
def test_a_handshake_that_fails_is_one_failure(tmp_path: Path, model: str) -> None:
    recorder = Recorder(tmp_path / "seen")
    with prise.listen(
        echo, "tls:127.0.0.1:0", model=model, tls=prise.TLS(self_signed=True), observer=recorder
    ) as server:
        for said in (b"no TLS at all\r\n", b""):
            with raw(server) as client:
                client.sendall(said)
                client.shutdown(socket.SHUT_WR)
                client.recv(100)
        until(lambda: len(recorder.lines()) == 6, "both are over")
    lines = recorder.lines()
    assert (lines.count("opened 127.0.0.1"), lines.count("closed 127.0.0.1")) == (2, 2)
    assert len([line for line in lines if line.startswith("failed ")]) == 2


@pytest.mark.parametrize("model", MODELS)
def test_an_observer_hears_of_datagram_sessions(tmp_path: Path, model: str) -> None:
    recorder = Recorder(tmp_path / "seen")
    with prise.listen(echo, "udp:127.0.0.1:0", model=model, observer=recorder) as server:
        with prise.connect(server.address) as client:
            assert client.ask("x", timeout=PATIENCE) == "x"
        assert recorder.lines() == ["opened 127.0.0.1"]
        server.stop()
    if model != "processes":  # whose children are killed
        assert recorder.lines()[-1] == "closed 127.0.0.1"


@pytest.mark.parametrize("model", ["threads", "select"])
def test_an_observer_that_fails_changes_nothing_and_is_logged(
    tmp_path: Path, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(tmp_path / "seen", fails=True)
    with listen(model, observer=recorder) as server, prise.connect(server.address) as client:
        assert client.ask("x", timeout=PATIENCE) == "x"
    assert caplog.text.count("the observer failed") == 2
    assert server.stats().errors["conversation"] == 0


def test_what_is_no_observer_is_refused_at_once() -> None:
    with pytest.raises(prise.UsageError, match="has no failed"):

        class Half:
            def opened(self, connection: object) -> None: ...

        listen(observer=Half())


def test_spans_of_opentelemetry() -> None:
    """The example of docs/metrics.md, with its real SDK."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    (code,) = (each for each in blocks("python") if "class Spans" in each)
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    names: dict[str, Any] = {}
    exec(code.partition("prise.serve(")[0], names)
    with listen("threads", observer=names["Spans"](provider.get_tracer("test"))) as server:
        for act in (leave, crash):
            with raw(server) as client:
                act(client)
        until(lambda: len(exporter.get_finished_spans()) == 2, "both are over")
    provider.shutdown()
    well, badly = sorted(exporter.get_finished_spans(), key=lambda span: len(span.events))
    assert (well.name, (well.attributes or {})["network.peer.address"]) == ("conversation", "127.0.0.1")
    assert not badly.status.is_ok
    assert badly.events[0].name == "exception"
