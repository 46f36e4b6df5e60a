"""A bot for `prise chat`: whoever writes "!heure" is told the time. Run: python bot.py [HOST:PORT]"""

import sys
import time

import prise

address = sys.argv[1] if len(sys.argv) > 1 else "localhost:50000"
with prise.connect(address, framing=prise.Lines() | prise.json()) as house:
    house.send({"hello": {"name": "horloge", "bot": True}})
    for event in house:
        message = event.get("message", {})
        if message.get("text") == "!heure":
            house.send({"say": {"room": message["room"], "text": time.strftime("il est %H:%M")}})
