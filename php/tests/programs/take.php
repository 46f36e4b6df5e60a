<?php

/**
 * Takes one connection, says what came with it, answers each line, and says goodbye after the peer has ended.
 */

declare(strict_types=1);

require __DIR__ . '/given.php';

$channel = isset($given['path']) ? Prise\Channel::connect($given['path']) : Prise\Channel::inherited($given['fd']);
$received = $channel->receive($given['timeout'] ?? 5.0);
if ($received === null) {
    say(closed: true);
    exit;
}
say(
    sapi: PHP_SAPI,
    kind: $received->kind,
    state: $received->state,
    pending: [strlen($received->pending), hash('sha256', $received->pending)],
    blocked: stream_get_meta_data($received->stream)['blocked'],
    peer: stream_socket_get_name($received->stream, true),
);
if ($received->kind !== 'stream') {
    exit;
}
while (($line = $received->readLine(timeout: 5)) !== null) {
    $received->write('PHP heard ' . $line);
}
$received->write("goodbye\n");
$received->close();
