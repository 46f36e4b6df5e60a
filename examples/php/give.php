<?php

/**
 * PHP se connecte, lit une ligne, et donne la connexion à un programme Python (take_prise.py) qui tourne déjà.
 *
 * Lancer :   php give.php HÔTE PORT CHEMIN
 */

declare(strict_types=1);

require __DIR__ . '/../../php/autoload.php';

use Prise\Channel;

[, $host, $port, $path] = $argv;

$stream = stream_socket_client("tcp://$host:$port", $errno, $errstr, 30) ?: exit("Erreur : $errstr\n");
fwrite($stream, "bonjour de PHP\n");
echo 'PHP : ', fgets($stream);

$channel = Channel::connect($path);
$channel->send($stream, ['langue' => 'français', 'lignes' => 1]); // notre copie est fermée : elle est à Python
