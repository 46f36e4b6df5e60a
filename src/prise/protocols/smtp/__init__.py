"""SMTP (RFC 5321): hands mail in. See sending.py for what a session does, and `prise.protocols.letter` to write a message.

    with prise.open("smtps://ada@mail.example.org/") as post:
        delivery = post.send(Path("letter.eml"))
        print(delivery.accepted, delivery.refused)

The protocol is our own and not smtplib's or aiosmtplib's: those know nothing of prise's transports and proxies, have one colour
each, and wait for an answer to every command.
"""

from __future__ import annotations

from prise.protocols.session import AsyncSession, Session
from prise.protocols.smtp.delivery import Delivery, RecipientsRefused, Sent
from prise.protocols.smtp.sending import SMTPTalk

__all__ = ["SMTP", "AsyncSMTP", "Delivery", "RecipientsRefused", "SMTPTalk", "Sent"]


class SMTP(SMTPTalk, Session):
    """A blocking SMTP session."""


class AsyncSMTP(SMTPTalk, AsyncSession):
    """An asynchronous SMTP session."""
