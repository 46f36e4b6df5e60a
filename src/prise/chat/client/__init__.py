"""A client of the chat room for the terminal: `prise chat join`. It speaks the JSON messages of docs/chat-protocol.md.

    model, room, fields   rooms, messages, what is unread and what is not settled: pure
    session, memory       the connection: coming in, reconnecting, resuming; what is kept in the user's files
    upload                a file, by HTTP PUT on the same port
    pipe                  standard input is said, what is said is printed
    start, screen, view   the whole terminal (prompt_toolkit): when it is taken; what it shows; the messages as rows
    keys, input           what keys do; lines typed earlier, completion

What comes from a house goes  session -> model (checked, made harmless) -> screen or pipe.
"""
