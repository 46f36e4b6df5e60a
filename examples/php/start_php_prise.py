"""Python se connecte et lance PHP avec la connexion comme entrée et sortie standard, à la manière d'inetd.

Lancer :   python start_php_prise.py HÔTE:PORT

PHP n'a besoin de rien : STDIN est la connexion, dans les deux sens, et fclose(STDIN) la ferme pour de bon.
"""

import sys
from pathlib import Path

import prise
from prise.handover.spawn import spawn

connection = prise.connect(sys.argv[1]).open()
connection.send("bonjour de Python")
print("Python :", connection.receive(), flush=True)
# relay : ce que prise a déjà lu de l'autre passe devant, par une paire de sockets ; sans cela, ce serait refusé.
process = spawn(["php", Path(__file__).parent / "started.php"], connection, relay=True)
sys.exit(process.wait())
