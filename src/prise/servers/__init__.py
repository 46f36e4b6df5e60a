"""Serving: one accept policy and one set of limits, four models with the same shape (threads, processes, select, asyncio)."""
