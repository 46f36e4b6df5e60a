"""`serial:DEVICE`: a serial line, such as `serial,speed=115200:/dev/ttyUSB0` (termios(3)).

Options: `speed` in bits per second (9600), `bits` of a character (8, 7, 6, 5), `parity` (none, even, odd), `stop` bits (1, 2),
`flow` control (none, hardware, software). Bytes pass as they are: nothing is echoed, edited or translated, and modem lines are
not looked at. The device is ours alone (TIOCEXCL, tty_ioctl(4)) while it is open, except that root can still open it.

A line has no end: what is received ends when the device is taken away, and the end of what is sent tells the other side nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any

from prise.address import Address
from prise.errors import BindError, ConnectError, Unsupported
from prise.transports.base import Deadline, Endpoint, Listening, Steps
from prise.transports.pump import pump


def looks_up(address: Address) -> bool:
    return False


def resolve(address: Address, passive: bool) -> list[Endpoint]:
    """None: a device is no place of the network."""
    return []


def bind(address: Address, backlog: int) -> list[Listening]:
    raise BindError(
        "a serial line cannot be listened on; listen elsewhere, and give it as the address to connect to",
        operation="bind",
        local=address,
    )


def connect(address: Address, endpoints: Sequence[Endpoint], deadline: Deadline) -> Steps:
    yield from ()  # a line is connected as soon as it is open
    import fcntl
    import termios

    try:
        # Without O_NONBLOCK, opening could wait for a modem's carrier.
        line = os.open(str(address.path), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise _cannot_open(address, error) from error
    try:
        modes = termios.tcgetattr(line)
        _set(modes, address)
        fcntl.ioctl(line, termios.TIOCEXCL)
        termios.tcsetattr(line, termios.TCSANOW, modes)
        termios.tcflush(line, termios.TCIFLUSH)  # what came before, perhaps at another speed
    except termios.error as error:
        os.close(line)
        raise _cannot_open(address, OSError(*error.args)) from error
    except OSError as error:
        os.close(line)
        raise _cannot_open(address, error) from error
    except BaseException:
        os.close(line)
        raise
    try:
        sock = pump(line, line, name=str(address))
    except OSError as error:
        raise _cannot_open(address, error) from error
    sock.setblocking(False)
    return sock


def _set(modes: list[Any], address: Address) -> None:
    """Fills in what tcgetattr gave: raw, as cfmakeraw(3) does, and as the options say. Raises Unsupported."""
    import termios

    speed = address.setting("speed", 9600)
    number = getattr(termios, f"B{speed}", None)
    if number is None:
        known = sorted(int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdecimal())
        raise Unsupported(
            "there is no speed {speed} here; there are: {known}",
            peer=address,
            speed=speed,
            known=", ".join(str(each) for each in known if each),
        )
    bits = address.option("bits", "8")
    parity, flow = address.option("parity", "none"), address.option("flow", "none")
    input_modes = output_modes = local_modes = 0
    control = termios.CREAD | termios.CLOCAL | getattr(termios, f"CS{bits}")
    if parity != "none":
        control |= termios.PARENB | (termios.PARODD if parity == "odd" else 0)
        input_modes |= termios.INPCK
    if address.option("stop") == "2":
        control |= termios.CSTOPB
    if flow == "hardware":
        control |= termios.CRTSCTS
    elif flow == "software":
        input_modes |= termios.IXON | termios.IXOFF
    modes[:6] = [input_modes, output_modes, control, local_modes, number, number]
    modes[6][termios.VMIN], modes[6][termios.VTIME] = 1, 0


def _cannot_open(address: Address, error: OSError) -> ConnectError:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        reason = "there is no such device; is it plugged in?"
    elif error.errno == errno.ENOTTY:
        reason = "this is no serial line"
    elif error.errno == errno.EBUSY:
        reason = "another program uses this line"
    elif error.errno in (errno.EACCES, errno.EPERM):
        reason = "not allowed to open it; on most systems one must be in the group that owns it (ls -l shows it)"
    else:
        reason = "{error}"
    return ConnectError(reason, operation="connect", peer=address.without_options(), error=error.strerror or error)
