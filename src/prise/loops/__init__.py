"""Event loops as connections see them: one small interface, over epoll or kqueue (`select.py`) and asyncio (`asyncio.py`)."""
