"""A person at a terminal: a line that can be edited while what arrives is printed above it.

It takes prompt_toolkit (a part of the extra `cli`). Without it, or where it cannot work, lines are plain: the terminal's
own editing, and what arrives comes in between. What arrives is shown by `texts.visible`, in both.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from types import TracebackType
from typing import Any, Self

import prise
from prise.cli.link import Piped
from prise.cli.texts import visible


def full_screen(module: str) -> Any:
    """A module that takes the whole terminal. Raises MissingExtra."""
    try:
        return import_module(module)
    except ImportError as error:
        raise prise.MissingExtra(
            "the package {package} is not installed; get it with: pip install 'prise[{extra}]'",
            package=error.name or "prompt_toolkit",
            extra="cli",
        ) from None


def is_terminal() -> bool:
    """Whether a person sits at both ends: stdin and stdout."""
    return sys.stdin.isatty() and sys.stdout.isatty()


class Terminal:
    """A source of typed lines (str, without their end), in a `with` statement; `show` prints, from any thread.

    Iterating raises KeyboardInterrupt at Ctrl-C and ends at Ctrl-D.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._session: Any = None
        self._stopped = False
        self._plain = Piped()

    def __enter__(self) -> Self:
        if os.environ.get("TERM") == "dumb":
            return self
        try:
            from prompt_toolkit import PromptSession
            from prompt_toolkit.patch_stdout import patch_stdout
        except ImportError:
            return self
        self._session = PromptSession()
        self._stack.enter_context(patch_stdout())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[str]:
        if self._session is None:
            for line in Lines(self._plain):
                yield line.decode(errors="replace")
            return
        while not self._stopped:
            try:
                typed = self._session.prompt("> ", pre_run=self._leave_if_stopped)
            except EOFError:
                return
            yield from typed.split("\n")  # several lines may have been pasted

    def stop(self) -> None:
        self._stopped = True
        self._plain.stop()
        if self._session is not None:
            loop = self._session.app.loop
            if loop is not None:
                try:
                    loop.call_soon_threadsafe(self._leave_if_stopped)
                except RuntimeError:
                    pass  # the prompt has ended by itself, and its loop with it

    def _leave_if_stopped(self) -> None:
        app = self._session.app
        if self._stopped and app.is_running and not app.is_done:
            app.exit(exception=EOFError)

    def show(self, text: str) -> None:
        print(visible(text), flush=True)


class LineByLine:
    """Shows bytes that arrive in any pieces as whole lines, since only those can be printed above a prompt.

    An unfinished line (a question such as "login: ") is shown as a line of its own when b"" says that nothing follows, and
    when it is longer than anything that is read by people.
    """

    LONGEST = 16 * 1024

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def __call__(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + self._decoder.decode(data)).replace("\r\n", "\n").split("\n")
        if lines:
            self._show("\n".join(lines))
        if self._rest and (not data or len(self._rest) > self.LONGEST):
            self.finish()

    def finish(self) -> None:
        """Shows what is left."""
        if self._rest:
            rest, self._rest = self._rest, ""
            self._show(rest)


class Lines:
    """A source of the lines (bytes, without their end) in a source of bytes; the last need not be ended."""

    def __init__(self, source: Piped) -> None:
        self._source = source

    def __iter__(self) -> Iterator[bytes]:
        import prise

        decoder = prise.Lines().decoder(prise.Limits().message_size)
        for data in self._source:
            yield from decoder.feed(data)
            while decoder.more:
                yield from decoder.feed(b"")
        yield from decoder.end()

    def stop(self) -> None:
        self._source.stop()
