<?php

/**
 * De Python à PHP dans un seul processus (phpy) : une socket de Python devient un flux de PHP.
 *
 * Lancer :   php phpy_python_to_php.php [HÔTE] [PORT]       (127.0.0.1 5432 par défaut ; phpy est nécessaire)
 *
 * C'est le premier programme de la page « Socket API » de phpy, avec le mode 'r+' : 'rw' n'en est pas un. fopen() copie le
 * descripteur : après fclose(), la socket de Python sert encore, et l'autre ne voit la fin que quand les deux sont fermés.
 */

declare(strict_types=1);

$host = $argv[1] ?? '127.0.0.1';
$port = (int) ($argv[2] ?? 5432);

$socket = PyCore::import('socket');
$client = $socket->socket($socket->AF_INET, $socket->SOCK_STREAM);
$client->connect(PyCore::tuple([$host, $port]));

$fp = fopen('php://fd/' . $client->fileno(), 'r+');
fwrite($fp, "bonjour de PHP\n");
echo fread($fp, 1024);
fclose($fp);

$client->sendall(PyCore::bytes("et de Python\n"));
echo $client->recv(1024);
$client->close();
