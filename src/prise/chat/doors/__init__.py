"""The ways into the house: `lines` for people with netcat or telnet, `objects` for programs, the page and the terminal client.

painter     what is shown to many, made once          entry     what all doors have in common
"""
