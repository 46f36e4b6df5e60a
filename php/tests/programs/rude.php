<?php

/**
 * Says what it should not on a channel: raw bytes, with raw descriptors. Then says what it was answered, until the end.
 */

declare(strict_types=1);

require __DIR__ . '/given.php';

$channel = socket_create(AF_UNIX, SOCK_STREAM, 0);
socket_connect($channel, $given['path']);
$descriptors = [];
foreach ($given['descriptors'] ?? [] as $kind) {
    $descriptors[] = match ($kind) {
        'socket' => stream_socket_server('tcp://127.0.0.1:0'),
        'Socket object' => socket_create_listen(0), // PHP puts standard input in its place
        'file' => fopen(__FILE__, 'r'),
    };
}
$bytes = base64_decode($given['bytes'] ?? '');
if ($bytes !== '') {
    $rights = ['level' => SOL_SOCKET, 'type' => SCM_RIGHTS, 'data' => $descriptors];
    socket_sendmsg($channel, ['iov' => [$bytes], 'control' => $descriptors ? [$rights] : []], MSG_NOSIGNAL);
}
if ($given['leave'] ?? false) {
    exit;
}
say(ready: true);
$answer = '';
while (@socket_recv($channel, $piece, 65536, 0)) {
    $answer .= $piece;
    if (!($given['mute'] ?? false) && strlen($answer) > 4 && strlen($answer) >= 4 + unpack('N', $answer)[1]) {
        break;
    }
}
isset($given['mute']) || say(answer: $answer === '' ? null : json_decode(substr($answer, 4), true));
