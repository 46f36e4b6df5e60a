"""Pictures go to another process without being copied; their brightness comes back.

    python examples/ipc_pictures.py

The picture is made in shared memory, sealed when it is sent, and read by the child in that very memory. With NumPy,
`numpy.asarray(buffer.view())` and `numpy.asarray(picture)` are arrays over it, and nothing else changes.
"""

from __future__ import annotations

from array import array

from prise import ipc

WIDTH, HEIGHT = 1920, 1080


def look_at(far: ipc.End[ipc.Connection, ipc.AsyncConnection]) -> None:
    """The child: answers each picture with the mean of its pixels."""
    with far as connection:
        for picture in connection:  # a memoryview of 1080 rows of 1920 bytes, read-only
            connection.send(array("d", [sum(picture.cast("B")) / picture.nbytes]))


def main() -> None:
    process, near = ipc.start(look_at)
    with near as connection:
        for grey in (0, 64, 255):
            with connection.allocate((HEIGHT, WIDTH)) as buffer:
                buffer[: buffer.nbytes // 2] = bytes([grey]) * (
                    buffer.nbytes // 2
                )  # the upper half; the lower is black
                (brightness,) = connection.ask(buffer)
            print(f"half of it {grey}: {brightness}")
    process.join()


if __name__ == "__main__":
    main()
