"""`--tls FILE`, for the peers that know TLS: the file has a certificate and its key."""

from __future__ import annotations

import ssl
import sys


def context() -> ssl.SSLContext | None:
    """What asyncio takes as `ssl`; None without that option."""
    if "--tls" not in sys.argv:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[sys.argv.index("--tls") + 1])
    return context
