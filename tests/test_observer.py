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
