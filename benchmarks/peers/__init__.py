"""The servers that prise is measured beside: each a line echo, written as its own documentation would have it."""
