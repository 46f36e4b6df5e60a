"""The three spellings of a conversation, told apart before anything is bound; and which model runs which."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import prise
from prise import SpellingError, UsageError
from prise.core.conversation import DEFAULT_MODEL, MODELS, last_word, model_for, spelling_of

# -- which spelling ------------------------------------------------------------------------------------------------------


def function(connection: Any) -> None: ...


def generator(connection: Any) -> Any:
    yield


async def coroutine(connection: Any) -> None: ...


class Room:
    """Conversations are often methods: the room is `self`."""

    def function(self, connection: Any) -> None: ...

    def generator(self, connection: Any) -> Any:
        yield

    async def coroutine(self, connection: Any) -> None: ...

    @classmethod
    async def of_class(cls, connection: Any) -> None: ...

    @staticmethod
    def static(connection: Any) -> Any:
        yield


class CallableFunction:
    def __call__(self, connection: Any) -> None: ...


class CallableGenerator:
    def __call__(self, connection: Any) -> Any:
        yield


class CallableCoroutine:
    async def __call__(self, connection: Any) -> None: ...


def with_more(greeting: str, connection: Any, *, loud: bool = False) -> Any:
    yield greeting


async def async_with_more(greeting: str, connection: Any, *, loud: bool) -> None: ...


def decorated(conversation: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(conversation)
    async def wrapper(connection: Any) -> None:
        await conversation(connection)

    return wrapper


SPELLINGS = [
    (function, "function"),
    (generator, "generator"),
    (coroutine, "coroutine"),
    (lambda connection: None, "function"),
    (lambda connection: (yield), "generator"),
    (Room().function, "function"),
    (Room().generator, "generator"),
    (Room().coroutine, "coroutine"),
    (Room.of_class, "coroutine"),
    (Room.static, "generator"),
    (CallableFunction(), "function"),
    (CallableGenerator(), "generator"),
    (CallableCoroutine(), "coroutine"),
    (functools.partial(with_more, "hello"), "generator"),
    (functools.partial(with_more, "hello", loud=True), "generator"),
    (functools.partial(functools.partial(async_with_more, loud=True), "hello"), "coroutine"),
    (functools.partial(Room.generator, Room()), "generator"),
    (functools.partial(CallableCoroutine()), "coroutine"),
    (decorated(coroutine), "coroutine"),
    (print, "function"),
    (lambda connection, greeting="hello", *more, **others: None, "function"),
]


@pytest.mark.parametrize(("conversation", "spelling"), SPELLINGS)
def test_spelling(conversation: Any, spelling: str) -> None:
    assert spelling_of(conversation) == spelling


async def asynchronous_generator(connection: Any) -> Any:
    yield


class NotAConversation:
    def __init__(self, connection: Any) -> None: ...


NONE: list[tuple[Any, str]] = [
    (None, "a conversation is a function that takes a connection, not None"),
    ("chat:room", "not 'chat:room'"),
    (asynchronous_generator, "asynchronous generator"),
    (functools.partial(asynchronous_generator), "asynchronous generator"),
    (NotAConversation, "NotAConversation is a class"),
    (functools.partial(NotAConversation), "is a class"),
    (lambda: None, "must take one argument, the connection"),
    (lambda one, other: None, "must take one argument"),
    (lambda *, connection: None, "must take one argument"),
    (functools.partial(function, None), "must take one argument"),
    (with_more, "with_more must take one argument"),
    (Room.function, "Room.function must take one argument"),
]


@pytest.mark.parametrize(("conversation", "complaint"), NONE)
def test_what_is_none(conversation: Any, complaint: str) -> None:
    with pytest.raises(SpellingError) as caught:
        spelling_of(conversation)
    assert complaint in str(caught.value)


def test_a_coroutine_that_was_called_already_is_none() -> None:
    called = coroutine(None)
    with pytest.raises(SpellingError, match="not <coroutine object"):
        spelling_of(called)  # type: ignore[arg-type]
    called.close()


# -- which model ---------------------------------------------------------------------------------------------------------


def test_the_default_fits_the_spelling() -> None:
    assert model_for("function", None) == "threads"
    assert model_for("generator", None) == "select"
    assert model_for("coroutine", None) == "asyncio"
    assert set(DEFAULT_MODEL.values()) < set(MODELS)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("spelling", ["function", "generator", "coroutine"])
def test_the_table(spelling: Any, model: str) -> None:
    """DESIGN §2: all pairs work but a plain function in a loop; and that is refused before anything is bound."""
    if spelling == "function" and model in ("select", "asyncio"):
        with pytest.raises(SpellingError, match="use model='threads' or 'processes', or write the conversation as"):
            model_for(spelling, model)
    else:
        assert model_for(spelling, model) == model


def test_an_unknown_model() -> None:
    with pytest.raises(UsageError, match="unknown model 'thread'; the models are threads, processes, select, asyncio"):
        model_for("function", "thread")


@pytest.mark.parametrize("serve", [prise.serve, prise.listen])
@pytest.mark.parametrize(
    ("conversation", "options"),
    [
        (function, {"model": "select"}),
        (function, {"model": "asyncio"}),
        (function, {"model": "asyncio", "workers": 2}),
        (function, {"model": "gevent"}),
        (asynchronous_generator, {}),
        (NotAConversation, {}),
        (lambda: None, {}),
        (function, {"workers": 0}),
        (function, {"framing": "lime"}),
    ],
)
def test_refused_before_anything_is_bound(serve: Any, conversation: Any, options: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:  # to bind it would raise BindError
        with pytest.raises(UsageError) as caught:
            serve(conversation, taken.getsockname(), **options)
        assert not isinstance(caught.value, prise.BindError)


# -- what is found out only when it happens ------------------------------------------------------------------------------


async def sleeps(connection: Any) -> None:
    await connection.send("before")
    await asyncio.sleep(0.01)
    await connection.send("after")


async def sleeps_not(connection: Any) -> None:
    await connection.send("before")
    await asyncio.sleep(0)  # needs no loop to be called, and still one to be awaited
    await connection.send("after")


async def waits_for_a_future(connection: Any) -> None:
    await connection.send("before")

    class Foreign:
        def __await__(self) -> Any:
            yield "a trap of some other library"

    await Foreign()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """What is logged, also in forked processes."""
    handler = logging.FileHandler(tmp_path / "log", encoding="utf-8")
    logging.getLogger("prise").addHandler(handler)
    yield tmp_path / "log"
    logging.getLogger("prise").removeHandler(handler)
    handler.close()


@pytest.mark.parametrize("conversation", [sleeps, sleeps_not, waits_for_a_future])
@pytest.mark.parametrize("model", ["threads", "processes", "select"])
def test_what_asyncio_alone_can_await_is_refused_with_the_cure(model: str, conversation: Any, log: Path) -> None:
    limits = prise.Limits(linger_time=0.2)
    with prise.listen(conversation, "127.0.0.1:0", model=model, limits=limits) as server:
        for _ in range(2):  # and the server goes on
            with prise.connect(server.address) as client:
                assert list(client) == ["before"]
    assert server.stats().errors["conversation"] == 2
    said = log.read_text()
    assert "awaits something that is not prise's" in said
    assert f"the model {model!r} cannot run; use model='asyncio'" in said


@pytest.mark.parametrize("conversation", [sleeps, sleeps_not])
def test_and_asyncio_can(conversation: Any) -> None:
    with prise.listen(conversation, "127.0.0.1:0", limits=prise.Limits(linger_time=0.2)) as server:
        with prise.connect(server.address) as client:
            assert list(client) == ["before", "after"]


# -- last words ----------------------------------------------------------------------------------------------------------


def started(function: Callable[[], Any]) -> Any:
    conversation = function()
    next(conversation)
    return conversation


def test_what_a_generator_returns_at_the_end_is_its_last_word() -> None:
    def polite() -> Any:
        try:
            yield
        except GeneratorExit:
            return "goodbye"

    assert last_word(started(polite)) == "goodbye"


def test_no_last_word() -> None:
    def plain() -> Any:
        yield

    assert last_word(started(plain)) is None


def test_what_it_yields_at_the_end_is_one_too() -> None:
    ended = []

    def wordy() -> Any:
        try:
            yield
        except GeneratorExit:
            try:
                yield "goodbye"
            finally:
                ended.append(True)

    assert last_word(started(wordy)) == "goodbye"
    assert ended == [True]


def test_an_error_is_raised_at_its_yield() -> None:
    def careful() -> Any:
        try:
            yield
        except prise.FrameError as error:
            return str(error)

    def careless() -> Any:
        yield

    error = prise.FrameError("what is this?")
    assert last_word(started(careful), error) == "what is this?"
    with pytest.raises(prise.FrameError) as caught:
        last_word(started(careless), error)
    assert caught.value is error


def test_what_its_clean_up_raises_comes_out() -> None:
    def clumsy() -> Any:
        try:
            yield
        finally:
            raise KeyError("oops")

    with pytest.raises(KeyError):
        last_word(started(clumsy))
