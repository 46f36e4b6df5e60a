"""Talk between the processes of one machine: pairs to a child, Unix sockets, shared memory for large messages.

near, far = ipc.pair()                       the two ends of a connection, one for a child
process, near = ipc.start(work)              a multiprocessing.Process that calls work(far)
process, near = ipc.spawn(["program"])       a program; it connects to `pipe:`
ipc.Listener("/run/x.sock")                  processes that were not started by each other
ipc.connect("/run/x.sock")
ipc.Buffer(size), ipc.Buffer((2, 3), "d")    memory to make a message in, sent without a copy

Messages are buffers. One above `Sharing.threshold` travels as sealed shared memory and is not copied by the receiver.
"""

from prise.ipc.asynchronous import AsyncConnection
from prise.ipc.blocking import Connection
from prise.ipc.memory import SUPPORTED, Buffer
from prise.ipc.opening import Connector, Listener, connect
from prise.ipc.pair import End, pair, spawn, start
from prise.ipc.sharing import LOCAL_LIMITS, Sharing

__all__ = [
    "LOCAL_LIMITS",
    "SUPPORTED",
    "AsyncConnection",
    "Buffer",
    "Connection",
    "Connector",
    "End",
    "Listener",
    "Sharing",
    "connect",
    "pair",
    "spawn",
    "start",
]
