"""Real servers of the eight protocols, which tests start on loopback: a file for each, on the common ground of base.py.

`fixtures.py` has one of each for the whole session, started by the first test that asks for it (10 to 150 ms). A test that
kills its server, or wants one for itself, starts it: `with Nginx() as nginx: ...`.
"""
