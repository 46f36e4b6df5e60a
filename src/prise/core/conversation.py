"""Which of the three spellings a conversation has, found out once, before anything is bound; and which model runs which.

    plain function   def greet(connection): ...                         blocks; threads, processes
    generator        def form(connection): name = yield "Name?" ...     no I/O inside; every model
    coroutine        async def chat(connection): ...                    awaits only prise: every model; else asyncio

In a generator each `yield` sends what it is given (None: nothing) and returns the next message. When the input ends,
GeneratorExit is raised at the `yield`; whatever the generator returns, then or earlier, is the last word sent.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal

from prise.errors import SpellingError, UsageError


@dataclass(frozen=True, slots=True)
class HandOver:
    """What a generator conversation returns to give its connection to another process, in place of a last word.

    channel: a `handover.Channel`. state: what goes along, as JSON says it. What the conversation has said goes out before.
    When the other side does not take it, the connection is closed, and that is logged.
    """

    channel: Any
    state: Any = None


Spelling = Literal["function", "generator", "coroutine"]
Conversation = Callable[[Any], Any]

DEFAULT_MODEL: dict[Spelling, str] = {"function": "threads", "generator": "select", "coroutine": "asyncio"}
MODELS = ("threads", "processes", "select", "asyncio")


def spelling_of(conversation: Conversation) -> Spelling:
    """The spelling of a conversation. Raises SpellingError for what is not a callable with one argument."""
    if not callable(conversation):
        raise SpellingError("a conversation is a function that takes a connection, not {value!r}", value=conversation)
    function: Any = conversation
    while isinstance(function, functools.partial):
        function = function.func
    if not (inspect.isfunction(function) or inspect.ismethod(function) or inspect.isclass(function)):
        function = getattr(function, "__call__", function)  # noqa: B004 - the method itself is wanted, to look at its kind
    name = getattr(conversation, "__qualname__", repr(conversation))
    if inspect.isclass(function):
        raise SpellingError(
            "{name} is a class; give a function, or an object whose __call__ takes a connection", name=name
        )
    if inspect.isasyncgenfunction(function):
        raise SpellingError(
            "{name} is an asynchronous generator, which is not a spelling of a conversation; "
            "use `await connection.send(...)` in place of `yield`, or `def` in place of `async def`",
            name=name,
        )
    try:
        inspect.signature(conversation).bind(None)
    except TypeError:
        raise SpellingError("{name} must take one argument, the connection", name=name) from None
    except ValueError:
        pass  # a builtin without a signature: the call itself will tell
    if inspect.iscoroutinefunction(function):
        return "coroutine"
    return "generator" if inspect.isgeneratorfunction(function) else "function"


def model_for(spelling: Spelling, model: str | None) -> str:
    """The model to use; the default for the spelling when None. Raises SpellingError for a pair that cannot work."""
    if model is None:
        return DEFAULT_MODEL[spelling]
    if model not in MODELS:
        raise UsageError("unknown model {model!r}; the models are {known}", model=model, known=", ".join(MODELS))
    if spelling == "function" and model in ("select", "asyncio"):
        raise SpellingError(
            "a plain function blocks, so the model {model!r} could serve only one client at a time; use "
            "model='threads' or 'processes', or write the conversation as a generator or with `async def`",
            model=model,
        )
    return model


def foreign_awaitable(model: str) -> SpellingError:
    """The error for a coroutine that awaits something that is not prise's where no asyncio loop runs it."""
    return SpellingError(
        "the conversation awaits something that is not prise's (asyncio.sleep, perhaps), which the model {model!r} "
        "cannot run; use model='asyncio'",
        model=model,
    )


def needs_asyncio(error: BaseException) -> bool:
    """True for the RuntimeError by which asyncio itself says that no loop runs here."""
    return isinstance(error, RuntimeError) and "no running event loop" in str(error)


def last_word(generator: Generator[Any, Any, Any], error: BaseException | None = None) -> Any:
    """Ends a generator conversation and returns its last word (None: nothing to say).

    Without an error the input has ended: GeneratorExit is raised at its `yield`. With an error (FrameError, TooSlow) that
    is raised there instead; it comes back out if the conversation does not handle it. A generator that yields again gets
    no further message: what it yielded is its last word.
    """
    try:
        word = generator.throw(error if error is not None else GeneratorExit())
    except StopIteration as stop:
        return stop.value
    except GeneratorExit:
        return None
    generator.close()
    return word
