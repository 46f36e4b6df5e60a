"""The sans-I/O heart: no sockets, no clocks, no threads. Time comes in as an argument (a test asserts the imports)."""
