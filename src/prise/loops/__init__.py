"""Event loops as the connections see them: one small interface, over epoll/kqueue (`select.py`) and over asyncio (`asyncio.py`)."""
