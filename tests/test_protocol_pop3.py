"""POP3 against Dovecot."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from random import Random

import pytest

import prise
from prise.protocols.seen import Seen
from real_servers.dovecot import Dovecot


def url(dovecot: Dovecot, user: str, tls: bool = True, rest: str = "") -> str:
    return f"pop3{'s' if tls else ''}://{user}:pw@localhost:{dovecot.pop3_tls_port if tls else dovecot.pop3_port}/{rest}"


@pytest.fixture
def trust(dovecot: Dovecot) -> prise.TLS:
    return prise.TLS(ca=dovecot.ca)


NAMES = itertools.count()
MAIL = b"From: a@example.org\r\nSubject: one\r\n\r\nhello\r\n.dot\r\n..\r\n"


def test_a_mailbox_is_listed_and_read(dovecot: Dovecot, trust: prise.TLS) -> None:
    user = "pop-%s" % next(NAMES)
    dovecot.deliver(user, MAIL)
    with prise.open(url(dovecot, user), tls=trust) as box:
        assert box.stat().messages == 1
        (message,) = box.list()
        assert (message.name, message.kind, message.size) == ("1", "message", len(MAIL))
        assert box.get("1").read() == MAIL
        assert box.get(message.facts["uid"]).read() == MAIL
        assert box.top(1).read() == MAIL.partition(b"hello")[0]


def test_the_same_with_await(dovecot: Dovecot, trust: prise.TLS) -> None:
    user = "pop-%s" % next(NAMES)
    dovecot.deliver(user, MAIL)

    async def main() -> None:
        async with prise.open(url(dovecot, user, tls=False), tls=trust) as box:
            assert box.connection.tls.version.startswith("TLS")
            assert [message.name async for message in box.list()] == ["1"]
            content = await box.get(1)
            assert content.size == len(MAIL)
            assert b"".join([piece async for piece in content]) == MAIL
        assert await prise.get(url(dovecot, user, rest="1"), tls=trust).read() == MAIL

    asyncio.run(main())
