"""NNTP (RFC 3977, 4642, 4643, 6048, 8054): news, and what of its servers is older than that.

with prise.open("nntps://news.example.org/comp.lang.python") as news:
    group = news.group("comp.lang.python")
    for article in news.over((group.last - 20, None)):
        print(article.number, article.subject)
    print(news.article(group.last).read().decode())

data.py        values: groups, overviews, articles
base.py        greeting, TLS, login, commands and answers; compression.py: COMPRESS
groups.py      the lists of groups, and the one that is selected
articles.py    overviews and articles; fetching.py: many of them, asked for ahead; yenc.py: files in them
verbs.py       list, get, put; posting.py: articles on their way out
"""

from prise.protocols.nntp.data import (
    Article,
    Group,
    GroupCount,
    GroupLine,
    GroupTime,
    HeaderLine,
    Overview,
    Pointer,
    Which,
    decoded_header,
)
from prise.protocols.nntp.verbs import NNTPTalk
from prise.protocols.session import AsyncSession, Session


class NNTP(NNTPTalk, Session):
    """A blocking NNTP session."""


class AsyncNNTP(NNTPTalk, AsyncSession):
    """An asynchronous NNTP session."""


__all__ = [
    "NNTP",
    "Article",
    "AsyncNNTP",
    "Group",
    "GroupCount",
    "GroupLine",
    "GroupTime",
    "HeaderLine",
    "Overview",
    "Pointer",
    "Which",
    "decoded_header",
]
