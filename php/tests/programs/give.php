<?php

/**
 * Connects to a peer, reads its first line (and, into PHP's buffer, whatever came with it), and gives the connection away.
 */

declare(strict_types=1);

require __DIR__ . '/given.php';

$context = stream_context_create(['ssl' => ['verify_peer' => false, 'verify_peer_name' => false]]);
$stream = stream_socket_client($given['peer'], $code, $error, 5, STREAM_CLIENT_CONNECT, $context);
fwrite($stream, "hello from PHP\n");
$first = fgets($stream);
stream_set_blocking($stream, $given['blocking'] ?? true);
$channel = Prise\Channel::connect($given['path']);
try {
    $channel->send($stream, $given['state'] ?? null, $given['keep'] ?? false, $given['timeout'] ?? 5.0);
    say(sent: true, first: $first, open: is_resource($stream));
    if ($given['keep'] ?? false) {
        fwrite($stream, "and from PHP again\n");
    }
} catch (Prise\Exception\HandoverException $error) {
    say(
        error: (new ReflectionClass($error))->getShortName(),
        message: $error->getMessage(),
        pending: $error->pending,
        open: is_resource($stream),
    );
    is_resource($stream) && fwrite($stream, "still here\n");
}
