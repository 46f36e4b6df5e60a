"""The terminal reader, `prise read URL`: menus, news and mailboxes are listed, and what is in them is opened.

    places      where something is: a server, and a name on it; its URL
    portions    a list bit by bit: of news and mail the newest first
    servers     the open session, with which things are fetched; reopened when it was lost
    mail        a message taken apart: header, text, attachments
    markup      HTML as text
    rows        entries and texts as lines of a terminal
    pages       a list or a text that is looked at: selection, scrolling, finding
    commands    which key does what
    model       the stack of pages, and what each key does: without a screen
    screen      the whole terminal (prompt_toolkit)
    plain       without a terminal: printed, and done

Nothing that came from the network reaches the terminal but through `rows`, which shows control characters and obeys none.
"""
