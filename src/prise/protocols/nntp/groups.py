"""Groups: which there are, what is said about them, and the one that is selected (RFC 3977 §6.1 and §7, RFC 6048)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TypeVar

from prise.errors import ProtocolError, UsageError
from prise.protocols.nntp.base import NewsTalk
from prise.protocols.nntp.data import (
    Group,
    GroupCount,
    GroupLine,
    GroupTime,
    Place,
    numbers_of,
    one_word,
    plain,
    shown,
)
from prise.protocols.session import procedure, streaming
from prise.protocols.steps import Flow, Steps
from prise.protocols.target import decoded

T = TypeVar("T")

MOST_LINES = 100_000
"""Lines of an answer that is given as a whole: HELP, LIST MODERATORS..."""

_FIRST = datetime(1970, 1, 2, tzinfo=UTC)  # there were no news before; and datetime.min may have no UTC


class GroupsTalk(NewsTalk):
    """selected: the name of the group that GROUP or LISTGROUP has selected; None before."""

    selected: str | None = None

    # -- the list of groups --------------------------------------------------------------------------------------------

    @streaming
    def groups(self, pattern: str | None = None) -> Steps[Flow[GroupLine]]:
        """The groups (LIST ACTIVE). pattern: only those whose name fits, as "comp.*,!comp.os.*" (wildmat)."""
        return (yield from self._list("ACTIVE" if pattern else "", pattern, _group_line))

    @streaming
    def descriptions(self, pattern: str | None = None) -> Steps[Flow[tuple[str, str]]]:
        """(name, description) of the groups that have one (LIST NEWSGROUPS)."""
        return (yield from self._list("NEWSGROUPS", pattern, _described))

    @streaming
    def counts(self, pattern: str | None = None) -> Steps[Flow[GroupCount]]:
        """The groups with how many articles they have (LIST COUNTS). Raises Refused where the server has no such list."""
        return (yield from self._list("COUNTS", pattern, _group_count))

    @streaming
    def times(self, pattern: str | None = None) -> Steps[Flow[GroupTime]]:
        """When groups were created, and by whom (LIST ACTIVE.TIMES), as far as the server remembers."""
        return (yield from self._list("ACTIVE.TIMES", pattern, _group_time))

    @streaming
    def new_groups(self, since: datetime) -> Steps[Flow[GroupLine]]:
        """The groups created since then (NEWGROUPS). since: without a time zone it is local time."""
        yield from self.command(f"NEWGROUPS {self._date_words(since)}", 231)
        return Flow(self.told_lines(read_groups))

    @streaming
    def new_news(self, pattern: str, since: datetime) -> Steps[Flow[str]]:
        """The message-ids of the articles that came since then into groups whose name fits (NEWNEWS). Many servers have
        switched this off, and raise Refused."""
        yield from self.command(f"NEWNEWS {pattern} {self._date_words(since)}", 230)
        return Flow(self.told_lines(_each(_text)))

    # -- other lists ---------------------------------------------------------------------------------------------------

    @procedure
    def list_lines(self, keyword: str, argument: str | None = None) -> Steps[list[str]]:
        """The lines of any list of the server as they are: "SUBSCRIPTIONS", "DISTRIB.PATS", "HEADERS"... At most 100,000."""
        yield from self._ask_list(keyword, argument)
        return (yield from self.held_lines(MOST_LINES))

    @procedure
    def overview_format(self) -> Steps[list[str]]:
        """What an overview is made of, in its order: "Subject:", ..., ":bytes", ":lines", "Xref:full" (LIST OVERVIEW.FMT)."""
        return (yield from self.list_lines.steps("OVERVIEW.FMT"))

    @procedure
    def subscriptions(self) -> Steps[list[str]]:
        """The groups that the server recommends to newcomers (LIST SUBSCRIPTIONS, RFC 6048 §2.6)."""
        return (yield from self.list_lines.steps("SUBSCRIPTIONS"))

    @procedure
    def distributions(self) -> Steps[dict[str, str]]:
        """Values of the header Distribution, and what they mean (LIST DISTRIBUTIONS, RFC 6048 §2.3)."""
        lines = yield from self.list_lines.steps("DISTRIBUTIONS")
        return dict(_described(line) for line in lines if line)

    @procedure
    def moderators(self) -> Steps[dict[str, str]]:
        """pattern of groups -> mail address of who moderates them, %s being the group's name (LIST MODERATORS, RFC 6048 §2.4)."""
        lines = yield from self.list_lines.steps("MODERATORS")
        return {pattern: address for pattern, _, address in (line.partition(":") for line in lines if line)}

    @procedure
    def message_of_the_day(self) -> Steps[str]:
        """What the server wants to be shown to those who read (LIST MOTD, RFC 6048 §2.5)."""
        return "\n".join((yield from self.list_lines.steps("MOTD")))

    @procedure
    def help(self) -> Steps[str]:
        """The server's own words about itself."""
        yield from self.command("HELP", 100)
        return "\n".join((yield from self.held_lines(MOST_LINES)))

    @procedure
    def date(self) -> Steps[datetime]:
        """The server's clock, in UTC. Raises Refused where it does not know the command."""
        reply = yield from self.command("DATE", 111)
        try:
            return datetime.strptime(reply.text.strip(), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            raise ProtocolError("the answer is no date: {text!r}", operation="DATE", text=reply.text[:80]) from None

    # -- the group that is selected ------------------------------------------------------------------------------------

    @procedure
    def group(self, name: str | None = None) -> Steps[Group]:
        """Selects a group; numbers are those of its articles from now on. name: None for the one that the URL names. Raises
        NotFound."""
        name = self._named(name)
        words = (yield from self.command(f"GROUP {one_word(name)}", 211)).text.split()
        if len(words) < 3:
            raise ProtocolError("the answer has no three numbers", operation="GROUP")
        articles, first, last = numbers_of(words[:3], "GROUP")
        self.selected = words[3] if len(words) > 3 else name
        return Group(self.selected, articles, first, last)

    @streaming
    def numbers(self, name: str | None = None, first: int | None = None, last: int | None = None) -> Steps[Flow[int]]:
        """The numbers that articles really have (LISTGROUP), and selects the group. name: None for the one selected, or else the
        one that the URL names. first, last: only these, both included."""
        name = self._named(name or self.selected)
        line = f"LISTGROUP {one_word(name)}"
        if first is not None or last is not None:
            line += f" {int(first or 1)}-{'' if last is None else int(last)}"
        yield from self.command(line, 211)
        self.selected = name  # what else the answer tells depends on the server's age

        def read(lines: Iterable[bytes]) -> list[int]:
            numbers = numbers_of((line.decode("latin-1") for line in lines), "LISTGROUP")
            if first is None and last is None:
                return numbers
            # Servers from before RFC 3977 do not look at the range.
            return [number for number in numbers if (first or 0) <= number and (last is None or number <= last)]

        return Flow(self.told_lines(read))

    # -- what these are made of ----------------------------------------------------------------------------------------

    def _named(self, name: str | None) -> str:
        """A group; None: the one that the URL names."""
        name = name or Place.read(decoded(self.target.place)).group
        if not name:
            raise UsageError("which group? example: {example}", example=f"{self.target.at('misc.test')}")
        return name

    def _list(self, keyword: str, pattern: str | None, read: Callable[[str], T]) -> Steps[Flow[T]]:
        yield from self._ask_list(keyword, pattern)
        return Flow(self.told_lines(_each(read)))

    def _ask_list(self, keyword: str, argument: str | None) -> Steps[None]:
        words = ["LIST", keyword, argument or ""]
        yield from self.command(" ".join(word for word in words if word), 215)

    def _date_words(self, since: datetime) -> str:
        """RFC 3977 §7.3.2; a server as old as RFC 977 knows years of two digits."""
        first = _FIRST if since.tzinfo is not None else _FIRST.replace(tzinfo=None)
        year = "%Y" if self.capabilities else "%y"
        return max(since, first).astimezone(UTC).strftime(f"{year}%m%d %H%M%S GMT")


def _each(read: Callable[[str], T]) -> Callable[[Iterable[bytes]], list[T]]:
    """Reads lines one by one. What a line lacks is a ProtocolError."""

    def lines_read(lines: Iterable[bytes]) -> list[T]:
        found = []
        try:
            for line in lines:
                found.append(read(line.decode("utf-8", "surrogateescape")))
        except (ValueError, OverflowError, OSError):  # the last two: of a time that no clock knows
            raise ProtocolError(
                "a line of the list is not as it has to be: {line!r}", operation="LIST", line=shown(line)
            ) from None
        return found

    return lines_read


def _text(line: str) -> str:
    return line


def _described(line: str) -> tuple[str, str]:
    name, _, description = line.replace("\t", " ", 1).partition(" ")
    return name, plain(description.strip())


def _group_line(line: str) -> GroupLine:
    name, last, first, status = line.split(None, 3)
    return GroupLine(name, int(last), int(first), status)


def _group_count(line: str) -> GroupCount:
    name, last, first, count, status = line.split(None, 4)
    return GroupCount(name, int(last), int(first), int(count), status)


def _group_time(line: str) -> GroupTime:
    name, seconds, creator = line.split(None, 2)
    return GroupTime(name, datetime.fromtimestamp(int(seconds), UTC), creator)


read_groups = _each(_group_line)
read_descriptions = _each(_described)
