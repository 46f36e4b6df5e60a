"""`serve`, which owns the process, and `listen`, which serves in the background: the ways in.

Everything is checked and bound here, in the caller's thread, so that what cannot work is an exception and not a log line.
Then one of the models runs: in this thread (serve), in a thread of its own (listen), in the running asyncio loop
(`async with listen(...)`), or in forked processes (the model processes, and workers=N).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from prise.address import Address
from prise.connection.blocking import in_running_loop
from prise.core.conversation import Conversation
from prise.core.counters import Stats
from prise.core.limits import Limits
from prise.core.multiplex import Multiplex
from prise.errors import UsageError
from prise.framing import Framing
from prise.layers.base import LayerFactory
from prise.servers.background import Server
from prise.servers.control import Control
from prise.servers.manager import told_to_manager
from prise.servers.serving import AnyAddress, Serving
from prise.servers.signals import drains_on_signals, reloads_on_hangup, renews_on_signal

if TYPE_CHECKING:
    from prise.handover.succession import Succession
    from prise.observe.observer import Observer

__all__ = ["AnyAddress", "Server", "listen", "serve"]

DRAIN_TIME = 10.0


def serve(
    conversation: Conversation | Multiplex,
    *addresses: AnyAddress,
    framing: str | Framing = "lines",
    model: str | None = None,
    workers: int = 1,
    limits: Limits | None = None,
    layers: Sequence[LayerFactory] = (),
    tls: Any = None,
    drain_time: float = DRAIN_TIME,
    handover: str | Succession | None = None,
    metrics: AnyAddress | None = None,
    observer: Observer | None = None,
    ready: Callable[[list[Address]], object] | None = None,
) -> Stats:
    """Serves a conversation until SIGTERM or SIGINT, and returns the final counts.

    conversation: a function, generator function or coroutine function that takes a connection, or a `Multiplex` of them.
    addresses: where to listen; default ":50000" (loopback).
    framing: how bytes become messages; a name ("lines", "prefixed:4 | json") or a Framing.
    model: "threads", "processes", "select" or "asyncio"; by default the one that fits the spelling.
    workers: processes that run the model side by side on the same addresses.
    limits: what peers may take. layers: factories of layers between the bytes and the framing.
    tls: a `TLS` for the addresses `tls:` and `wss:` (their own options go before). SIGHUP has it read its files again.
    drain_time: seconds that conversations get to end after the first signal; the second signal cuts.
    handover: the path of a Unix socket, over which a new release of this server takes over: whoever serves there now is
    asked for its listeners and, in the models select and asyncio, for its live connections; then we wait there for our own
    successor. SIGUSR2 starts one, as this process was started. See docs/handover.md.
    metrics: an address (":9100", "unix:PATH") where Prometheus reads the counts of all processes, at the path /metrics.
    observer: a `prise.observe.Observer`, which hears of each connection: for tracing. See docs/metrics.md.
    ready: called with the bound addresses (real ports) before the first connection is accepted.

    Raises UsageError, SpellingError, AddressError, BindError before anything is served. Outside the main thread there are no
    signals, so nothing ends it: use `listen` there.
    """
    if in_running_loop():
        raise UsageError("serve() would stop the running asyncio loop: use `async with prise.listen(...)` in it")
    server = Serving(
        conversation, addresses, framing, model, workers, limits, layers, tls, drain_time, handover, metrics, observer
    )
    with server.bound():
        control = Control(drain_time=drain_time)
        try:
            with (
                drains_on_signals(control, drain_time),
                reloads_on_hangup(control),
                renews_on_signal(server.succession),
            ):
                if ready is not None:
                    ready(server.addresses)
                with told_to_manager(control, server.addresses):
                    return Stats.of(server.run(control))
        finally:
            control.close()


def listen(
    conversation: Conversation | Multiplex,
    *addresses: AnyAddress,
    framing: str | Framing = "lines",
    model: str | None = None,
    workers: int = 1,
    limits: Limits | None = None,
    layers: Sequence[LayerFactory] = (),
    tls: Any = None,
    drain_time: float = DRAIN_TIME,
    handover: str | Succession | None = None,
    metrics: AnyAddress | None = None,
    observer: Observer | None = None,
) -> Server:
    """Serves in the background, for tests, notebooks and programs with other things to do; the arguments are those of `serve`.

    Use it as `with listen(...) as server:` or, for the model asyncio on the running loop, `async with listen(...)`.
    Leaving the block drains. Without a block: `listen(...).start()` and `stop()`. It touches no signals.
    """
    serving = Serving(
        conversation, addresses, framing, model, workers, limits, layers, tls, drain_time, handover, metrics, observer
    )
    return Server(serving)
