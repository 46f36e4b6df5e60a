"""Les dix derniers sujets d'une boîte aux lettres, avec prise.

Le mot de passe est lu dans la variable MOT_DE_PASSE ; sans elle dans ~/.netrc ou le trousseau, ou bien il est demandé.

Lancer :   python mailbox_prise.py HÔTE UTILISATEUR [PORT]     (port 993 par défaut : TLS dès le premier octet)
"""

import os
import sys
from getpass import getpass

import prise

host, user = sys.argv[1:3]
port = sys.argv[3] if len(sys.argv) > 3 else 993

with prise.open(
    f"imaps://{host}:{port}/INBOX",
    user=user,
    password=os.environ.get("MOT_DE_PASSE"),
    ask=lambda host, user: (user, getpass()),
) as box:
    for message in box.list(last=10):
        print(message.title)
