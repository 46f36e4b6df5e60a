"""Layers stand between the bytes of the transport and the framing: telnet negotiation today; TLS, PROXY and WebSocket next."""
