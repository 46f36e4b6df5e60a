"""Files over any connection: every one arrives whole and verified, or both sides know that it did not.

    with prise.connect(address, framing=transfer.FRAMING, limits=transfer.LIMITS) as connection:
        transfer.handshake(connection, role="send", listens=False, code="k7mq-3xwp")
        transfer.send(connection, transfer.listing(["photos"]))

    with prise.Listener(address, framing=transfer.FRAMING, limits=transfer.LIMITS) as listener:
        with listener.accept() as connection:
            transfer.handshake(connection, role="receive", listens=True, code="k7mq-3xwp")
            transfer.receive(connection, "downloads")

How it goes, after the handshake (handshake.py); messages are in talk.py:

    sender                                   receiver
    entry, entry, ... listed          ->     everything that could be refused is refused now: names, sizes, what exists
                                      <-     have (what is there of a file, and its hash) ..., go
    same | file, bytes ..., end with the hash, ... over  ->     each file is verified, then put in its place
                                      <-     done

An interrupted file stays as NAME.part; the next time it is the beginning of what is sent, if the hashes of it agree.
"""

from prise.transfer.code import new_code
from prise.transfer.handshake import handshake
from prise.transfer.listing import Listing, listing, standard_input
from prise.transfer.receiver import receive
from prise.transfer.sender import send
from prise.transfer.stream import receive_into
from prise.transfer.talk import FRAMING, LIMITS, Entry, Report, Watcher

__all__ = [
    "FRAMING",
    "LIMITS",
    "Entry",
    "Listing",
    "Report",
    "Watcher",
    "handshake",
    "listing",
    "new_code",
    "receive",
    "receive_into",
    "send",
    "standard_input",
]
