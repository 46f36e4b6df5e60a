"""One talk with one peer: the blocking connection, and the one that an event loop moves."""
