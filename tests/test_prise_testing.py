"""`prise.testing`: what users test their own conversations with."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import prise
from prise import testing
from prise.testing import FakeClock, conformance, pair, play


def form(connection: Any) -> Any:
    name = yield "name?"
    while (line := (yield f"{name}, I listen")) != "FIN":
        if line == "":
            yield None
    return "goodbye"


# -- play ----------------------------------------------------------------------------------------------------------------


def test_a_generator_is_played_without_any_socket() -> None:
    assert play(form, ["Zoé", "hello", "FIN"]) == ["name?", "Zoé, I listen", "Zoé, I listen", "goodbye"]


def test_when_the_messages_are_used_up_the_input_ends() -> None:
    def count(connection: Any) -> Any:
        total = 0
        try:
            while True:
                yield None
                total += 1
        except GeneratorExit:
            return f"{total} messages"

    assert play(count, ["a", "b", "c"]) == ["3 messages"]
    assert play(count, []) == ["0 messages"]


def test_messages_after_the_end_of_the_conversation_are_not_taken() -> None:
    messages = iter(["Zoé", "FIN", "never"])
    assert play(form, messages)[-1] == "goodbye"
    assert list(messages) == ["never"]


def test_what_the_conversation_raises_comes_out() -> None:
    def broken(connection: Any) -> Any:
        raise ValueError((yield))

    with pytest.raises(ValueError, match="ouch"):
        play(broken, ["ouch"])


def test_it_is_given_what_the_test_says() -> None:
    def polite(connection: Any) -> Any:
        return f"hello {connection}"
        yield

    assert play(polite, [], connection="you") == ["hello you"]
    assert play(polite, []) == ["hello None"]


def test_only_generators_are_played() -> None:
    def function(connection: Any) -> None: ...

    async def coroutine(connection: Any) -> None: ...

    for conversation in (function, coroutine):
        with pytest.raises(prise.UsageError, match=r"use prise\.testing\.pair"):
            play(conversation, [])


# -- pair ----------------------------------------------------------------------------------------------------------------


def test_a_pair_are_each_others_peers() -> None:
    left, right = pair()
    with left, right:
        left.send("hello")
        assert right.receive(5) == "hello"
        right.send("fine")
        right.send_eof()
        assert list(left) == ["fine"]
        assert left.id != right.id


def test_a_plain_function_is_tested_over_a_pair() -> None:
    def shout(connection: prise.Connection) -> None:
        for line in connection:
            connection.send(line.upper())

    left, right = pair()
    with left, right:
        thread = threading.Thread(target=shout, args=(right,))
        thread.start()
        assert left.ask("hello", timeout=5) == "HELLO"
        left.send_eof()
        thread.join(5)
        assert not thread.is_alive()


def test_a_pair_has_any_framing_and_limits() -> None:
    left, right = pair("prefixed:2 | json", limits=prise.Limits(message_size=10))
    with left, right:
        left.send({"a": 1})
        assert right.receive(5) == {"a": 1}
        left.send("longer than ten bytes")
        with pytest.raises(prise.MessageTooLarge):
            right.receive(5)


def test_without_limits_of_its_own_a_pair_waits_for_ever_and_the_test_says_how_long() -> None:
    left, right = pair()
    with left, right, pytest.raises(prise.TooSlow):
        left.receive(timeout=0.01)


# -- mem: ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["threads", "select", "asyncio"])
def test_servers_and_clients_without_the_network(model: str) -> None:
    with prise.listen(form, "mem:form", model=model, limits=prise.Limits(linger_time=0.2)) as server:
        assert str(server.address) == "mem:form"
        with prise.connect("mem:form") as client:
            assert client.receive(5) == "name?"
            assert client.ask("Zoé", timeout=5) == "Zoé, I listen"
            client.send("FIN")
            assert list(client) == ["goodbye"]


# -- the clock -----------------------------------------------------------------------------------------------------------


def test_time_moves_when_the_test_says_so() -> None:
    clock = FakeClock()
    before = clock()
    assert clock() == before
    clock.advance(2.5)
    assert clock() == before + 2.5
    assert FakeClock(5.0)() == 5.0


# -- conformance ---------------------------------------------------------------------------------------------------------


def test_the_table_of_cases_is_complete_and_documented_by_its_names() -> None:
    names = [case.__name__ for case in conformance.CASES]
    assert len(names) == len(set(names)) >= 20
    assert all(name.count("_") >= 2 for name in names), "a name says what is promised"


def test_settings_are_every_pair_that_works() -> None:
    settings = conformance.settings("127.0.0.1:0", "unix:/x")
    assert len(settings) == len({str(setting) for setting in settings}) == 2 * 2 * (4 * 2 + 2)
    assert "threads-function-tcp" in map(str, settings)
    assert "select-coroutine-unix-workers" in map(str, settings)
    assert not any(setting.spelling == "function" and setting.model == "select" for setting in settings)


def test_a_case_notices_a_broken_promise() -> None:
    """The suite is worth something only if it can fail."""

    class Forgetful(conformance.Setting):
        def serve(self, name: str, **options: Any) -> Any:
            return super().serve("last", **options)

    with pytest.raises((AssertionError, prise.PriseError)):
        conformance.each_message_is_answered_in_order(Forgetful("select", "generator", 1, "127.0.0.1:0"))


def test_everything_promised_is_there() -> None:
    documented = testing.__doc__ or ""
    for name in ("play", "pair", "conformance.CASES", "FakeClock"):
        assert name in documented
        assert hasattr(testing, name.partition(".")[0])
