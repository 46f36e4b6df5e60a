<?php

/**
 * PHP se connecte et lance Python avec la connexion comme descripteur 3.
 *
 * Lancer :   php start_python.php HÔTE PORT [PYTHON]
 *
 * La socket est donnée telle quelle : rien ne doit avoir été lu, car ce qui attend dans le tampon de PHP y resterait. (Par un
 * Prise\Channel, il arriverait aussi.) Un objet Socket n'est pas accepté : socket_export_stream() en fait un flux.
 */

declare(strict_types=1);

[, $host, $port] = $argv;
$stream = stream_socket_client("tcp://$host:$port", $errno, $errstr, 30) ?: exit("Erreur : $errstr\n");
fwrite($stream, "bonjour de PHP\n");

$command = [$argv[3] ?? 'python3', __DIR__ . '/started_prise.py', '3'];
$process = proc_open($command, [0 => ['file', '/dev/null', 'r'], 1 => STDOUT, 2 => STDERR, 3 => $stream], $pipes);
fclose($stream);
exit(proc_close($process));
