"""A loop of `recvfrom` and `sendto`, the reference: no sessions, no limits, and it waits where the kernel takes no more."""

from __future__ import annotations

import socket


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        print(sock.getsockname()[1], flush=True)
        while True:
            data, peer = sock.recvfrom(65536)
            sock.sendto(data, peer)


if __name__ == "__main__":
    main()
