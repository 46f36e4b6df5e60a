<?php

// The other side of `prise, to PHP`: takes connections over descriptor 3, and closes each.

declare(strict_types=1);

require __DIR__ . '/../../php/autoload.php';

$channel = Prise\Channel::inherited(3);
while (($received = $channel->receive(10.0)) !== null) {
    $received->close();
}
