<?php

/**
 * PHP répond aux clients qu'un serveur Python a accueillis (answer_server_prise.py).
 *
 * Lancer :   php answer.php [CHEMIN]       (./reponses.sock par défaut ; le serveur d'abord)
 */

declare(strict_types=1);

require __DIR__ . '/../../php/autoload.php';

$channel = Prise\Channel::connect($argv[1] ?? './reponses.sock');
while ($received = $channel->receive()) {
    $received->write("Bonjour {$received->state['nom']}, ici PHP " . PHP_MAJOR_VERSION . ". Vos mots à l'envers ?\n");
    while (($line = $received->readLine()) !== null && rtrim($line) !== 'FIN') {
        $received->write(implode('', array_reverse(preg_split('//u', rtrim($line), -1, PREG_SPLIT_NO_EMPTY))) . "\n");
    }
    $received->write("Au revoir\n");
    $received->close();
}
