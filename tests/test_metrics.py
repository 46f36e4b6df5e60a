"""What a running server tells about itself: its metrics, read as Prometheus reads them."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as families

import prise
from blocking_support import PATIENCE, RESET, until
from metrics_support import DOCUMENT, MODELS, ask, bare, echo, listen, scraped, values, where
from prise.core.counters import Counters, Stats
from prise.observe import processes
from prise.observe.exposition import Reading, text
from prise.observe.metrics import LIMITS
from prise.observe.processes import Usage, usage
from prise.observe.reading import Reader
from prise.observe.scrape import Sample, Scraper, parse
from prise.servers.service import Service

BRIEF = prise.Limits(linger_time=0.2)

OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}


# What is told


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_tells_what_all_its_processes_have_counted(model: str, workers: int) -> None:
    with listen(model, workers=workers) as server, ExitStack() as stack:
        clients = [stack.enter_context(prise.connect(server.address)) for _ in range(3)]
        for client in clients:
            assert client.ask("12345", timeout=PATIENCE) == "12345"
        until(lambda: scraped(server)["prise_sent_bytes_total"] == 18, "all is counted")
        found = scraped(server)
        assert (found["prise_connections_open"], found["prise_connections_total"]) == (3, 3)
        assert (found["prise_messages_received_total"], found["prise_messages_sent_total"]) == (3, 3)
        assert (found["prise_received_bytes_total"], found["prise_draining"]) == (18, 0)
        assert found["prise_connections_limit"] == 2000 * workers
        stack.close()
        until(lambda: scraped(server)["prise_connections_open"] == 0, "they have gone")


@pytest.mark.parametrize("model", MODELS)
def test_errors_are_told_by_cause(model: str) -> None:
    with listen(model) as server:
        with prise.connect(server.address) as client:
            client.send("crash")
            assert client.receive(PATIENCE) is None
        until(lambda: scraped(server)["prise_errors_total"] == 1, "it is counted")
        told = values(ask(server)[1])
        assert told["prise_errors_total", (("cause", "conversation"),)] == 1
        assert told["prise_errors_total", (("cause", "frame"),)] == 0


def test_both_formats_say_the_same_and_the_parsers_of_prometheus_read_them() -> None:
    with listen() as server:
        response, plain = ask(server)
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        response, openmetrics = ask(server, **OPENMETRICS)
        assert response.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert openmetrics.endswith("# EOF\n")
        assert response.headers["Content-Length"] == str(len(openmetrics.encode()))

    def told(found: Any) -> set[str]:
        return {sample.name for family in found for sample in family.samples}

    modern = list(openmetrics_families(openmetrics))
    assert told(families(plain)) == told(modern)
    kinds = {family.name: (family.type, family.documentation) for family in modern}
    assert kinds["prise"][0] == "info"
    assert kinds["prise_connections"][0] == "counter"
    assert kinds["prise_connections_open"][0] == "gauge"
    assert all(documentation for _, documentation in kinds.values())
    info = next(dict(labels) for (name, labels) in values(plain) if name == "prise_info")
    assert (info["version"], info["model"], info["workers"]) == (prise.__version__, "select", "1")


@given(st.dictionaries(st.sampled_from(["version", "model"]), st.text(st.characters(codec="utf-8"))))
@settings(max_examples=50)
def test_whatever_a_label_holds_is_read_as_it_was(info: dict[str, str]) -> None:
    told = text(Reading(Stats.of(Counters()), info, [("server", Usage(1.5, 10))], limit=None)).decode()
    if "\r" not in "".join(info.values()):  # the other parser takes it for the end of a line
        assert Sample(told, 0.0).info == info
    assert Sample(told, 0.0).processes[0].cpu == 1.5
    if all(value.isprintable() for value in info.values()):
        found = next(family for family in families(told) if family.name == "prise_info")
        assert found.samples[0].labels == info


@given(st.text(st.sampled_from('prise_info{}=",\\ \n0123456789.e+-NaInf#')))
@settings(max_examples=50)
def test_what_is_no_metric_is_passed_over(told: str) -> None:
    for samples in parse(told).values():
        assert all(abs(value) < float("inf") for value in samples.values())


@pytest.mark.parametrize("labels", ["a" * 500_000, 'a="' * 100_000, 'a="\\"' * 100_000])
def test_labels_without_an_end_take_no_time(labels: str) -> None:
    assert list(parse(f"x{{{labels}}} 1")) == ["x"]


def test_numbers_that_nothing_can_be_are_passed_over() -> None:
    told = 'x{a="1"} 1e308\nx{a="2"} 1e308\nx{a="3"} NaN\nx{a="4"} -Inf\nx 5\n'
    assert Sample(told, 0.0).count("x") == 5


def test_a_counter_that_is_lower_than_before_has_begun_anew() -> None:
    before = Sample('process_cpu_seconds_total{process="a"} 9\nprise_sent_bytes_total 100\n', 10.0)
    after = Sample('process_cpu_seconds_total{process="a"} 1\nprise_sent_bytes_total 140\n', 12.0)
    assert after.since(before).cpu == {"a": 0.5}
    assert after.since(before).counts["bytes_sent"] == 20.0


# The processes


def test_workers_are_processes_with_a_name_and_one_that_dies_is_replaced_and_counted() -> None:
    with listen("asyncio", workers=2) as server:
        told = values(ask(server)[1])
        names = {dict(labels)["process"] for name, labels in told if name == "process_resident_memory_bytes"}
        assert names == {"supervisor", "worker-0", "worker-1"}
        assert scraped(server)["prise_worker_restarts_total"] == 0
        with prise.connect(server.address) as client:
            client.send("kill")
            client.receive(PATIENCE)
        until(lambda: scraped(server)["prise_worker_restarts_total"] == 1, "its death is seen")
        until(lambda: len(Sample(ask(server)[1], 0.0).processes) == 3, "it is replaced")


def test_the_children_of_the_model_processes_are_counted_with_their_parent() -> None:
    with listen("processes") as server:
        alone = scraped(server)["process_resident_memory_bytes"]
        with ExitStack() as stack:
            for _ in range(3):
                client = stack.enter_context(prise.connect(server.address))
                assert client.ask("x", timeout=PATIENCE) == "x"
            assert scraped(server)["process_resident_memory_bytes"] > 2 * alone


def test_cpu_time_never_goes_down_when_children_end() -> None:
    def work(connection: prise.Connection) -> None:
        for _ in connection:
            end = time.process_time() + 0.05
            while time.process_time() < end:
                pass
            connection.send("done")

    with listen("processes", work) as server:
        with prise.connect(server.address) as client:
            assert client.ask("work", timeout=PATIENCE) == "done"
            until(lambda: scraped(server)["process_cpu_seconds_total"] >= 0.05, "a living child counts")
            before = scraped(server)["process_cpu_seconds_total"]
        until(lambda: scraped(server)["prise_connections_open"] == 0, "the child has ended")
        assert scraped(server)["process_cpu_seconds_total"] >= before


def test_nor_when_a_child_ends_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    child = os.fork()
    if not child:
        while time.process_time() < 0.1:
            pass
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it has ended, and counts until somebody takes note of that

    def read_and_take_note(pid: int) -> list[int]:
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
        return children_of(pid)

    def cpu() -> float:
        return reader.read(Counters(), {"server": os.getpid()}).processes[0][1].cpu

    reader = Reader(Service.of(echo))
    before = cpu()
    children_of = processes._children
    monkeypatch.setattr(processes, "_children", read_and_take_note)
    assert cpu() >= before
    assert cpu() >= before


def test_what_a_process_uses() -> None:
    used = usage(os.getpid())
    assert used is not None
    assert (used.memory or 0) > 1_000_000
    assert 0 < (used.open_files or 0) <= (used.most_files or 0)
    assert 0 < time.time() - (used.started or 0) < 24 * 3600
    assert usage(2**22 + 1) is None, "there is no such process"


# How it is asked


def test_it_is_read_and_nothing_else() -> None:
    with listen() as server:
        response, body = ask(server, method="HEAD")
        assert (response.status, body) == (200, "")
        assert int(response.headers["Content-Length"]) > 1000
        assert ask(server, "/")[0].status == 404
        assert "/metrics" in ask(server, "/")[1]
        assert ask(server, "/metrics?x=1")[0].status == 200
        response, _ = ask(server, method="POST")
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


def test_a_scraper_may_ask_again_on_its_connection() -> None:
    with listen() as server:
        scraper = Scraper(f"http://{server.metrics}")
        try:
            assert scraper.read().count("prise_draining") == 0
            assert scraper.read().info["model"] == "select"
        finally:
            scraper.close()
        assert server.stats().total == 0, "who reads the metrics is not in them"


@pytest.mark.parametrize("model", MODELS)
def test_scrapers_that_say_nothing_are_cut_and_others_are_answered_meanwhile(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "prise.observe.metrics.LIMITS", prise.Limits(connections=2, idle_time=0.3, message_time=0.2, linger_time=0.1)
    )
    with listen(model) as server, bare(server) as silent, bare(server, b"GET /metr") as slow:
        with prise.connect(server.address) as client:
            assert client.ask("x", timeout=PATIENCE) == "x"
        assert ask(server)[0].status == 200, "there was no place for it, until one of them was cut"
        assert silent.recv(1000) == b""
        assert b"408" in slow.recv(1000)


def test_garbage_is_refused_and_changes_nothing() -> None:
    with listen() as server:
        for said in (b"\0" * 100, b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"x" * 100_000):
            with bare(server) as sock:
                try:
                    sock.sendall(said)
                    assert b" 4" in sock.recv(100)
                except ConnectionError:
                    pass  # it has heard enough
        with bare(server, b"GET /metrics HTTP/1.1\r\n") as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        assert ask(server)[0].status == 200


def test_many_at_once_are_all_answered() -> None:
    with listen() as server, ExitStack() as stack:
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        socks = [stack.enter_context(bare(server, request)) for _ in range(3 * (LIMITS.connections or 0))]
        for sock in socks:
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
            while sock.recv(65536):
                pass
            sock.close()  # else its place is kept for a moment


# Where, and how long


def test_over_a_unix_socket_and_over_tls(tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    with listen(metrics=f"unix:{path}") as server:
        scraper = Scraper(f"unix:{path}")
        assert scraper.read().info["model"] == "select"
        scraper.close()
        assert str(server.metrics) == f"unix:{path}"
    assert not path.exists()
    with listen(metrics="tls:127.0.0.1:0", tls=prise.TLS(self_signed=True)) as server:
        scraper = Scraper(f"tls,verify=no:127.0.0.1:{where(server)[1]}")
        assert scraper.read().info["model"] == "select"
        scraper.close()


@pytest.mark.parametrize("address", ["udp::0", "ws::0", "unix,type=dgram:/nowhere", "stdio:"])
def test_an_address_without_streams_is_refused_at_once(address: str) -> None:
    with pytest.raises(prise.UsageError, match="metrics are read by HTTP"):
        listen(metrics=address)


def test_a_port_that_is_taken_is_an_error_before_anything_is_served() -> None:
    with listen() as first, pytest.raises(prise.BindError):
        listen(metrics=f"127.0.0.1:{where(first)[1]}").start()


def test_without_metrics_nothing_listens() -> None:
    with prise.listen(echo, "127.0.0.1:0") as server:
        assert server.metrics is None


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("model", MODELS)
def test_it_ends_with_the_server(model: str, workers: int) -> None:
    server = listen(model, workers=workers).start()
    address = where(server)
    assert ask(server)[0].status == 200
    server.drain()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, PATIENCE)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("model", MODELS)
def test_while_it_drains_it_says_so(model: str, workers: int) -> None:
    async def stubborn(connection: Any) -> None:
        await connection.send("here")
        async for _ in connection:
            pass
        await connection.send("x" * 10_000_000)  # which its peer does not read

    server = listen(model, stubborn, workers=workers).start()
    with prise.connect(server.address) as client:
        assert client.receive(PATIENCE) == "here"
        ending = threading.Thread(target=server.drain, args=(PATIENCE,))
        ending.start()
        until(lambda: scraped(server)["prise_draining"] == 1, "it drains")
        until(lambda: scraped(server)["prise_connections_open"] == 1, "and counts who is still there")
        client.close()
        ending.join()


@pytest.mark.parametrize("model", ["asyncio", "select", "threads"])
def test_a_new_release_answers_at_the_same_address_once_it_has_taken_over(tmp_path: Path, model: str) -> None:
    path = str(tmp_path / "take")
    with listen(model, handover=path) as old, prise.connect(old.address) as client:
        assert client.ask("x", timeout=PATIENCE) == "x"
        assert scraped(old)["prise_connections_total"] == 1
        with listen(model, handover=path) as new:
            assert (new.metrics, new.address) == (old.metrics, old.address)
            old.drain()  # it does by itself; this waits for it
            assert scraped(new)["prise_connections_total"] == 0, "it counts for itself"


def test_what_a_new_release_has_stays_when_the_process_that_started_the_old_one_ends(tmp_path: Path) -> None:
    """Which has bound the paths, and serves in processes of its own; the new one removes them at its end."""
    take, metrics = tmp_path / "take", tmp_path / "metrics"

    def release(model: str) -> prise.Server:
        return prise.listen(
            echo, f"unix:{tmp_path}/s", model=model, metrics=f"unix:{metrics}", handover=str(take), limits=BRIEF
        )

    with release("processes") as old:
        until(take.exists, "it can be followed")
        with release("threads"):
            board = old._board
            assert board is not None
            until(lambda: board.others, "it has left")
            old.drain()
            with prise.connect(f"unix:{tmp_path}/s") as client:
                assert client.ask("x", timeout=PATIENCE) == "x"
            scraper = Scraper(f"unix:{metrics}")
            assert scraper.read().info["model"] == "threads"
            scraper.close()
    assert not metrics.exists()
    assert not (tmp_path / "s").exists()


def test_children_keep_nothing_of_it() -> None:
    """Else a scraper would wait for the end of a conversation, and the port stay taken."""

    def kinds() -> list[str]:
        found = []
        for number in range(100):
            with suppress(OSError):
                found.append(os.readlink(f"/proc/self/fd/{number}").partition(":[")[0])
        return found

    def open_files(connection: prise.Connection) -> None:
        for _ in connection:
            connection.send(" ".join(kinds()))

    before = kinds()
    request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    with listen("processes", open_files) as server, bare(server, request) as scraper:
        assert scraper.recv(100)
        with prise.connect(server.address) as client:
            there = (client.ask("?", timeout=PATIENCE) or "").split()
            assert there.count("socket") <= before.count("socket") + 1, "its own connection"
            assert there.count("anon_inode:[eventpoll]") <= before.count("anon_inode:[eventpoll]")


def test_a_relay_tells_too() -> None:
    with prise.listen(echo, "127.0.0.1:0") as server:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with prise.Relay("127.0.0.1:0", server.address, metrics=f"127.0.0.1:{port}") as relay:
            with prise.connect(relay.address) as client:
                assert client.ask("hello", timeout=PATIENCE) == "hello"
            scraper = Scraper(f"127.0.0.1:{port}")
            until(lambda: scraper.read().count("prise_connections_open") == 0, "it is over")
            sample = scraper.read()
            scraper.close()
            assert (sample.count("prise_received_bytes_total"), sample.count("prise_connections_total")) == (6, 1)


# The document


def test_the_document_lists_all_metrics_and_labels() -> None:
    with listen(workers=2) as server:
        told = {name for name, _ in values(ask(server)[1])}
        labels = {label for _, labels in values(ask(server)[1]) for pair in labels for label in pair[:1]}
    assert set(re.findall(r"`((?:prise|process)_\w+)`", DOCUMENT.partition("What to know")[0])) == told
    for label in labels:
        assert label in DOCUMENT
