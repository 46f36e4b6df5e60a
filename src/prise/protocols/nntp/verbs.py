"""`list`, `get` and `put` for news, and posting.

What the place in a URL means (RFC 5538):

    nntp://host/                        the groups                      list
    nntp://host/comp.*                  those that fit                  list
    nntp://host/comp.lang.python        the articles of a group         list, put
    nntp://host/comp.lang.python/4711   one of them                     get
    nntp://host/abc@example.org         an article by its message-id    get
"""

from __future__ import annotations

from prise.errors import MessageTooLarge, Refused, UsageError
from prise.protocols.entry import Entry
from prise.protocols.nntp.articles import ArticlesTalk
from prise.protocols.nntp.data import GroupLine, Overview, Place, one_word, read_overviews, wording
from prise.protocols.nntp.groups import read_descriptions, read_groups
from prise.protocols.nntp.posting import header_of, ready_to_post, with_line_ends
from prise.protocols.session import content, procedure, streaming
from prise.protocols.source import Data, Source
from prise.protocols.steps import Flow, Steps
from prise.protocols.target import decoded

MOST_TITLES = 200_000
"""Groups whose description is remembered while they are listed."""

MOST_DESCRIBED = 64 * 1024 * 1024
"""Bytes of that list. That of a server with all groups there are has 10 MB."""


class NNTPTalk(ArticlesTalk):
    """All that a session with a news server can do."""

    # -- the three verbs -----------------------------------------------------------------------------------------------

    @streaming
    def list(self, name: str | None = None, last: int | None = None) -> Steps[Flow[Entry]]:
        """Groups, or the articles of a group.

        name: "" all groups, a pattern ("comp.*"), or a group; None: what the URL names. last: of a group's articles only those
        with the highest numbers, so many at the most. Of a group: title is its description,
        size about how many articles it has, facts first, last, status. Of an article: name is its number, title the
        subject, size in bytes, facts from, message_id, references, lines.
        """
        place = self._place(name)
        if place.article:
            raise UsageError("{article} is an article: get it", article=place.article)
        return (
            yield from self._list_groups(place.group) if place.is_pattern else self._list_articles(place.group, last)
        )

    @content
    def get(self, name: str | int | None = None) -> Steps[Flow[bytes]]:
        """An article, whole, lines end in CR LF.

        name: its number in the group that is selected (or else the one that the URL names), "group/number" or its message-id;
        None: the one that the URL names. Raises NotFound.
        """
        place = self._place(None if name is None else str(name))
        if not place.article:
            raise UsageError(
                "which article? example: {example}", example=str(self.target.at(f"{place.group or 'misc.test'}/1"))
            )
        group = place.group or (self._place(None).group if self.selected is None else "")
        if not place.article.startswith("<") and group and group != self.selected:
            yield from self.group.steps(group)
        return (yield from self.article.steps(place.article))

    @procedure
    def put(self, name: str | None, data: Data) -> Steps[str | None]:
        """Posts an article. name: the group, for an article without the header Newsgroups; None: the one that the URL names.
        Returns and raises as `post`."""
        place = self._place(name)
        return (yield from self._post(Source.of(data).read(), None if place.is_pattern else one_word(place.group)))

    # -- posting -------------------------------------------------------------------------------------------------------

    @procedure
    def post(self, data: Data) -> Steps[str | None]:
        r"""Posts an article: a header with From, Subject and Newsgroups, an empty line, the body. Lines may end in \n.

        Returns its message-id: its own, or the one that the server gave it and told. Raises UsageError for an article that lacks
        something, Refused.
        """
        return (yield from self._post(Source.of(data).read(), None))

    @procedure
    def ihave(self, message_id: str, data: Data) -> Steps[None]:
        """Offers an article as one server does to another: with all of its header, and as it is. Raises Refused where the server
        has it already (435), does not want it (437), or wants it later (436)."""
        article = with_line_ends(Source.of(data).read())
        yield from self.command(f"IHAVE {wording(message_id)}", 335)
        yield from self.hand_over(article, "IHAVE", 235)

    def _post(self, data: bytes, group: str | None) -> Steps[str | None]:
        article = ready_to_post(data, group)
        yield from self.command("POST", 340)
        words = yield from self.hand_over(article, "POST", 240)
        told = [word for word in words.split() if word.startswith("<") and word.endswith(">")]
        return header_of(article).get("message-id") or (told[0] if told else None)

    # -- what these are made of ----------------------------------------------------------------------------------------

    def _place(self, name: str | None) -> Place:
        return Place.read(decoded(self.target.place) if name is None else name)

    def _list_groups(self, pattern: str) -> Steps[Flow[Entry]]:
        titles: dict[str, str] = {}
        try:
            yield from self.command(f"LIST NEWSGROUPS {pattern}".rstrip(), 215)
        except Refused:
            pass  # they go without
        else:
            size = 0
            while (lines := (yield from self.reader.dotted_lines())) is not None:
                size += sum(map(len, lines))
                if size > MOST_DESCRIBED:
                    raise MessageTooLarge(
                        "the answer has more than {limit} bytes", operation="LIST", limit=MOST_DESCRIBED
                    )
                if len(titles) < MOST_TITLES:
                    titles.update(read_descriptions(lines))
        yield from self.command(f"LIST ACTIVE {pattern}" if pattern else "LIST", 215)
        return Flow(self.told_lines(lambda lines: [_group_entry(line, titles) for line in read_groups(lines)]))

    def _list_articles(self, name: str, last: int | None) -> Steps[Flow[Entry]]:
        group = yield from self.group.steps(name)
        numbers = group.numbers if last is None else group.numbers[-last:] if last > 0 else range(0)
        return (yield from self.overviews(numbers, lambda lines: [_entry(each) for each in read_overviews(lines)]))


def _group_entry(line: GroupLine, titles: dict[str, str]) -> Entry:
    facts = {"first": line.first, "last": line.last, "status": line.status}
    articles = max(line.last - line.first + 1, 0) if line.last else 0
    return Entry(line.name, "group", titles.get(line.name, ""), articles, facts=facts)


def _entry(article: Overview) -> Entry:
    facts = {
        "from": article.from_,
        "message_id": article.message_id,
        "references": article.references,
        "lines": article.lines,
    }
    return Entry(str(article.number), "article", article.subject, article.bytes, article.date, facts=facts)
