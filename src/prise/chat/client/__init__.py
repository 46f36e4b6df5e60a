"""A client of the chat room for the terminal: `prise chat join`. It speaks the JSON messages of docs/chat-protocol.md.

    model     rooms, messages, what is unread and what is not settled: pure         memory   what is kept in the user's files
    session   the connection: coming in, reconnecting, resuming; no terminal        upload   a file, by HTTP PUT on the same port
    pipe      standard input is said, what is said is printed                       screen   the whole terminal (prompt_toolkit)

What comes from a house goes  session -> model (checked, made harmless) -> screen or pipe.
"""
