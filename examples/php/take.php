<?php

/**
 * PHP reçoit une connexion que Python a commencée (give_prise.py), et la continue.
 *
 * Lancer :   php take.php CHEMIN       (d'abord ; la socket Unix CHEMIN est créée, pour nous seuls)
 *
 * Ce que Python avait déjà lu arrive avec elle : readLine() le rend en premier.
 */

declare(strict_types=1);

require __DIR__ . '/../../php/autoload.php';

$listener = new Prise\Listener($argv[1]);
echo "prêt\n";
$received = $listener->accept()->receive();
echo 'PHP reçoit : ', json_encode($received->state, JSON_UNESCAPED_UNICODE), "\n";

$received->write("et de PHP\n");
while (($line = $received->readLine()) !== null) {
    echo 'PHP : ', $line;
}
$received->close();
