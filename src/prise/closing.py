"""What ends with its `with` statement: the two lines that everything with a `close()` would write again."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """For what is closed at the end of a `with` statement."""

    def close(self) -> None:
        """Gives back what it holds. Closing twice is harmless."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClosing:
    """For what is closed at the end of an `async with` statement, and need not wait for that."""

    def close(self) -> None:
        """Gives back what it holds. Closing twice is harmless."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
