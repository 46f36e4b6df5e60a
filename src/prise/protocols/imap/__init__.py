r"""IMAP (RFC 3501 and RFC 9051): mailboxes that stay on the server, read, searched, marked and moved there.

    with prise.open("imaps://ada@mail.example.org/INBOX") as box:
        for message in box.list():
            print(message.name, message.facts["from"], message.title, message.size)
        box.get("7").save("7.eml")
        for uid in box.search(unseen=True, from_="bob"):
            box.add_flags(uid, "\\Flagged")

Ours, not imapclient's or imap-tools': both stand on imaplib's blocking socket, so they have no proxies, no second colour, nothing
streamed, and whole literals held.

    parser.py message.py decoding.py    what comes: responses, what FETCH tells, transfer encodings
    names.py sets.py search.py place.py     what goes: strings, mailboxes, uids, searches; URLs
    commands.py entrance.py mailboxes.py messages.py idle.py session.py     the talk, each built on the one before
"""

from prise.protocols.imap.commands import Event, Mailbox
from prise.protocols.imap.mailboxes import Counts, Namespace, Namespaces
from prise.protocols.imap.message import Envelope, Message, Part, Person
from prise.protocols.imap.search import Search
from prise.protocols.imap.session import IMAP, AsyncIMAP

__all__ = [
    "IMAP",
    "AsyncIMAP",
    "Counts",
    "Envelope",
    "Event",
    "Mailbox",
    "Message",
    "Namespace",
    "Namespaces",
    "Part",
    "Person",
    "Search",
]
