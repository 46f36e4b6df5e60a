"""The chat room, built on the public library alone: `prise chat`.

    events     what can happen in a room, as data                 texts      how events read on a line, in the user's language
    room       who is there, what is said and in which order      cleaning   what people type, made harmless
    store      what was said, kept in SQLite                      commands   what can be asked for with a slash
    door       one person's conversation, over lines              operator   the person at the server's own terminal
    server     all of it put together                             joining    how others get in

A line goes  door -> room -> store (committed) -> room -> every door.  The room knows neither sockets nor SQLite: a second kind
of door (a web page) or of store is one more file.
"""
