<?php

/**
 * De PHP à Python dans un seul processus (phpy) : un flux de PHP devient une socket de Python.
 *
 * Lancer :   php phpy_php_to_python.php [HÔTE] [PORT]       (127.0.0.1 5432 par défaut ; phpy est nécessaire)
 *
 * C'est le deuxième programme de la page « Socket API » de phpy. fromfd() copie le descripteur. Ici PHP n'a encore rien lu ;
 * sinon, ce qui attend dans son tampon serait perdu : Prise\Phpy::toSocket() le donne avec la socket.
 */

declare(strict_types=1);

$host = $argv[1] ?? '127.0.0.1';
$port = (int) ($argv[2] ?? 5432);

$socket = PyCore::import('socket');
$fp = stream_socket_client("tcp://$host:$port", $errno, $errstr, 30);
if (!$fp) {
    exit("Erreur : $errstr ($errno)\n");
}
$client = $socket->fromfd(PyCore::fileno($fp), $socket->AF_INET, $socket->SOCK_STREAM);
fclose($fp);

$client->sendall(PyCore::bytes("bonjour de Python\n"));
echo $client->recv(1024);
$client->close();
