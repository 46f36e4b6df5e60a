<?php

declare(strict_types=1);

namespace Prise\Tests;

/**
 * A TCP connection over the loopback: `$near` is what changes hands, `$far` is the peer that notices nothing.
 */
final class Talk
{
    /** @var resource */
    public mixed $near;

    /** @var resource */
    public mixed $far;

    public function __construct()
    {
        $server = stream_socket_server('tcp://127.0.0.1:0');
        $this->far = stream_socket_client('tcp://' . stream_socket_get_name($server, false));
        $this->near = stream_socket_accept($server, 5);
        fclose($server);
        stream_set_timeout($this->far, 5);
        stream_set_timeout($this->near, 5);
    }

    /** What the peer hears until it has all of this, or the end. */
    public function heard(int $length): string
    {
        return (string) stream_get_contents($this->far, $length);
    }
}
