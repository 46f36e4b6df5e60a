"""Les dix derniers sujets d'une boîte aux lettres, avec imaplib seul.

Le mot de passe est demandé, ou lu dans la variable MOT_DE_PASSE.

Lancer :   python mailbox_bare.py HÔTE UTILISATEUR [PORT]     (port 993 par défaut : TLS dès le premier octet)
"""

import imaplib
import os
import ssl
import sys
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import compat32
from getpass import getpass


def subject_of(header):
    text = message_from_bytes(header, policy=compat32)["Subject"] or ""
    return str(make_header(decode_header(text))).replace("\r\n", "")


host, user = sys.argv[1:3]
port = int(sys.argv[3]) if len(sys.argv) > 3 else 993
password = os.environ.get("MOT_DE_PASSE") or getpass()

# Sans ce contexte, imaplib accepterait n'importe quel certificat.
with imaplib.IMAP4_SSL(host, port, ssl_context=ssl.create_default_context()) as box:
    box.login(user, password)
    status, words = box.select("INBOX", readonly=True)
    if status != "OK":
        sys.exit(words[0].decode())
    count = int(words[0])
    if count:
        status, parts = box.fetch(f"{max(count - 9, 1)}:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        for part in parts:
            if isinstance(part, tuple):  # entre les réponses viennent des parenthèses seules
                print(subject_of(part[1]))
