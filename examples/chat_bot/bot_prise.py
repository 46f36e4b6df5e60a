"""Un robot pour `prise chat` : à qui écrit « !heure », il dit l'heure.

Lancer :   python bot_prise.py [ADRESSE]       (localhost:50000 par défaut ; le salon d'abord)
"""

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
