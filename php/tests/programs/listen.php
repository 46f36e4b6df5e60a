<?php

/**
 * Waits for somebody who gives connections away; echoes one line of the first connection.
 */

declare(strict_types=1);

require __DIR__ . '/given.php';

$listener = new Prise\Listener($given['path'], $given['uids'] ?? null, $given['mode'] ?? 0600);
$channel = $listener->accept($given['timeout'] ?? 5.0);
$received = $channel->receive(5.0);
say(state: $received->state, uid: $received->credentials['uid']);
$received->write($received->readLine(timeout: 5));
