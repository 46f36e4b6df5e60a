"""Two network namespaces and a wire between them that loses, doubles, delays and reorders real packets, or is cut.

    with wire.joined(faults.Drop(0.1), faults.Reorder(0.2), seed=1) as (left, right, cable):
        with left.inside(): server = prise.listen(echo, f"{left.address}:0").start()
        with right.inside(): client = prise.connect(server.address).open()
        cable.cut()

Each namespace has a TUN device (tun(4)): what the kernel sends there, a thread here reads and writes to the other one, through
faults of `prise.testing.faults`. So TCP above it is the kernel's own, and what happens to it follows from a seed; tc-netem(8)
does the same without one, where a kernel has it. A namespace belongs to a thread (setns(2)), and a socket stays in the one that
it was made in: `inside` is needed where sockets are made, processes and threads are started, and nowhere else.

It needs the rights to make namespaces: root, or `unshare --map-root-user --net`.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import math
import os
import select
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, TypeVar

from prise.testing.faultlinks import Passage
from prise.testing.faults import Fault

T = TypeVar("T")

CLONE_NEWNET = 0x40000000  # <sched.h>
TUNSETIFF = 0x400454CA  # <linux/if_tun.h>
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
DEVICE = "wire0"
MTU = 1500
RTO_MIN = "5ms"  # TCP's own 200 ms suit long lines; here they would only make each lost packet expensive

_libc = ctypes.CDLL(None, use_errno=True)


def _call(function: Any, *arguments: int) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def why_not() -> str | None:
    """What is missing here for namespaces and a wire; None if it all is there."""
    if shutil.which("ip") is None:
        return "the program ip is not installed"
    try:
        with Namespace("10.77.0.1") as place:
            place.plug_in("10.77.0.2")
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no right to make network namespaces or TUN devices ({error})"
    return None


class Namespace:
    """A network of its own, with loopback; closing it ends it."""

    def __init__(self, address: str) -> None:
        self.address = address
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call(_libc.unshare, CLONE_NEWNET)
            try:
                self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            finally:
                _call(_libc.setns, home, CLONE_NEWNET)
        finally:
            os.close(home)
        self.device = -1

    def __enter__(self) -> Namespace:
        self.run("ip", "link", "set", "lo", "up")
        return self

    def __exit__(self, *exception: object) -> None:
        if self.device >= 0:
            os.close(self.device)
        os.close(self._fd)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the namespace; what it makes stays there."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call(_libc.setns, self._fd, CLONE_NEWNET)
            try:
                yield
            finally:
                _call(_libc.setns, home, CLONE_NEWNET)
        finally:
            os.close(home)

    def call(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Calls it inside."""
        with self.inside():
            return function(*arguments, **named)

    def run(self, *command: str) -> None:
        with self.inside():
            subprocess.run(command, check=True, capture_output=True)

    def plug_in(self, other: str) -> None:
        """Makes the device, with our address on this end and the other's on the other."""
        with self.inside():
            self.device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            fcntl.ioctl(self.device, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        self.run("ip", "address", "add", f"{self.address}/32", "peer", f"{other}/32", "dev", DEVICE)
        self.run("ip", "link", "set", DEVICE, "mtu", str(MTU))
        self.up(other)

    def up(self, other: str) -> None:
        self.run("ip", "link", "set", DEVICE, "up")
        self.run("ip", "route", "replace", other, "dev", DEVICE, "src", self.address, "rto_min", RTO_MIN)

    def down(self) -> None:
        self.run("ip", "link", "set", DEVICE, "down")


class Cable:
    """The thread that carries packets. carried: how many; lost: those thrown away by a cut, a full queue, a device that was down
    (what faults drop is not counted)."""

    def __init__(self, left: Namespace, right: Namespace, faults: tuple[Fault, ...], seed: int) -> None:
        self.ends = (left, right)
        self.seed = seed
        self.carried = 0
        self.lost = 0
        self._is_cut = False
        self._told, self._teller = os.pipe()
        self._ways: dict[int, tuple[Passage, int]] = {}
        for source, sink, way in ((left, right, "up"), (right, left, "down")):
            chosen = [fault for fault in faults if fault.only in (None, way)]
            stages = [fault.fresh(Random(f"{seed} {way} {place}")) for place, fault in enumerate(chosen)]
            # A Passage bounds nothing itself; we do, as a router does that throws away what its queue does not hold.
            self._ways[source.device] = Passage(None, stages, keeps_order=False), sink.device  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)

    def cut(self) -> None:
        """Nothing arrives any more, and nobody is told."""
        self._is_cut = True

    def mend(self) -> None:
        self._is_cut = False

    def settle(self, seconds: float = 0.1) -> None:
        """Waits until nothing was carried for so long: acknowledgements come up to 40 ms late."""
        carried = -1
        while carried != self.carried:
            carried = self.carried
            time.sleep(seconds)

    def __enter__(self) -> Cable:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        os.write(self._teller, b"1")
        self._thread.join()
        os.close(self._told)
        os.close(self._teller)

    def _run(self) -> None:
        poll = select.poll()
        for descriptor in (self._told, *self._ways):
            poll.register(descriptor, select.POLLIN)
        while True:
            now = time.monotonic()
            due = min(passage.due for passage, _ in self._ways.values())
            for descriptor, _ in poll.poll(None if due == math.inf else max(math.ceil((due - now) * 1000), 0)):
                if descriptor == self._told:
                    return
                self._take(descriptor)
            now = time.monotonic()
            for passage, sink in self._ways.values():
                self._deliver(passage, sink, now)

    def _take(self, source: int) -> None:
        passage, _ = self._ways[source]
        for _ in range(64):
            try:
                packet = os.read(source, 65536)
            except OSError:  # no more, or the device is down
                return
            if self._is_cut or passage.full:
                self.lost += 1
            else:
                passage.put(time.monotonic(), packet)

    def _deliver(self, passage: Passage, sink: int, now: float) -> None:
        passage.ripen(now)
        while passage.waiting and passage.waiting[0][0] <= now:
            piece = passage.pop()
            if self._is_cut or not isinstance(piece, bytes):
                self.lost += 1
                continue
            try:
                os.write(sink, piece)
                self.carried += 1
            except OSError:  # the device is down
                self.lost += 1


@contextlib.contextmanager
def joined(*faults: Fault, seed: int = 0) -> Iterator[tuple[Namespace, Namespace, Cable]]:
    """Two namespaces, 10.77.0.1 and 10.77.0.2, with a cable between them."""
    with Namespace("10.77.0.1") as left, Namespace("10.77.0.2") as right:
        left.plug_in(right.address)
        right.plug_in(left.address)
        with Cable(left, right, faults, seed) as cable:
            yield left, right, cable
