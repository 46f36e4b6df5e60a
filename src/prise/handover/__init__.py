"""Live connections change hands: to another process of ours, to a new release, to PHP, and back.

    with Listener("/run/user/1000/app/take") as listener:          # who takes
        with listener.accept() as channel:
            received = channel.receive()
            connection = received.connection("lines")              # begins with what had been read already

    with Channel.connect("/run/user/1000/app/take") as channel:    # who gives
        channel.send(connection, state={"name": "ada"})            # returns when the other side has it

On an event loop: `AsyncChannel`, `AsyncListener`, and `await connection.hand_over(channel, state=...)`; a generator
conversation returns `prise.HandOver(channel, state)`. `adopt(fd)` makes a connection of a descriptor, `connection.detach()`
the other way round; `spawn` starts a program with a connection; `listen_fds`, `notify` and `store` speak systemd's protocols;
`restart` and `Succession` let a new release take over a server (docs/restart.md).
"""

from prise.connection.parting import Detached
from prise.errors import HandoverError, HandoverProtocolError, HandoverRefused, HandoverUncertain
from prise.handover.activation import listen_fds, serve_fds
from prise.handover.adopt import adopt
from prise.handover.channel import AsyncChannel, Channel
from prise.handover.fdstore import remove, store, stored
from prise.handover.inheritance import Inheritance, inherit
from prise.handover.listener import AsyncListener, Listener
from prise.handover.notify import barrier, notify, notifying, watchdog_interval
from prise.handover.received import Received
from prise.handover.spawn import spawn
from prise.handover.succession import Succession, restart

__all__ = [
    "AsyncChannel",
    "AsyncListener",
    "Channel",
    "Detached",
    "HandoverError",
    "HandoverProtocolError",
    "HandoverRefused",
    "HandoverUncertain",
    "Inheritance",
    "Listener",
    "Received",
    "Succession",
    "adopt",
    "barrier",
    "inherit",
    "listen_fds",
    "notify",
    "notifying",
    "remove",
    "restart",
    "serve_fds",
    "spawn",
    "store",
    "stored",
    "watchdog_interval",
]
