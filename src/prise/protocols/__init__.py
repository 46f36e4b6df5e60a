"""Clients of Internet protocols, one way in: `prise.open(url)`, and `get`, `put`, `ls` for one line.

    target.py credentials.py opening.py     a URL, who logs in, which protocol it is
    steps.py reader.py talk.py reply.py     what every protocol is made of; no I/O
    mover.py session.py                     what moves their bytes, and what the user holds, in both colours
    entry.py source.py                      what the verbs list, take and give

A protocol (pop3.py, nntp/, ftp/...) is a class of generators: what they yield is sent, a bare `yield` gives what has come, what
they return is the result. So one text serves `with` and `async with`, runs over every transport and proxy, and a test needs
no socket.
"""
