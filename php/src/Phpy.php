<?php

declare(strict_types=1);

namespace Prise;

use Prise\Exception\Refused;

/**
 * Python and PHP in one process (phpy, https://github.com/swoole/phpy): a socket of one becomes a socket of the other.
 *
 * Both sides then have a copy of the same connection: the peer sees the end when both are closed, and both see what either
 * does to the mode. So these functions see to what the bare calls get wrong: bytes in PHP's buffer, TLS, the blocking mode,
 * and the address family. Python code that reads through a buffer of its own (makefile()) has to be done with it.
 */
final class Phpy
{
    /**
     * A stream of PHP, as Python's socket.socket; blocking, and of the right family.
     *
     *     [$client, $pending] = Phpy::toSocket($stream);
     *     fclose($stream);                                  // or go on with both
     *
     * @param resource|\Socket|Received $stream
     * @return array{object, string} the socket, and what PHP had read from the peer: it comes before all that Python reads
     * @throws Refused for TLS, and for what is no socket
     */
    public static function toSocket($stream): array
    {
        $parcel = new Parcel($stream);
        $number = self::duplicate($parcel);
        $socket = \PyCore::import('socket')->socket(-1, -1, -1, $number); // it asks the kernel for family and type
        return [$socket, self::given($parcel)];
    }

    /**
     * A stream of PHP, as a connection of prise in Python: it begins with what PHP had read already.
     *
     * @param resource|\Socket|Received $stream
     * @param string $framing "lines", "chunks"...: see prise.framing
     * @throws Refused for TLS, and for what is no socket
     */
    public static function toConnection($stream, string $framing = 'lines'): object
    {
        $parcel = new Parcel($stream);
        $number = \PyCore::fileno($parcel->stream); // adopt() duplicates it
        return \PyCore::import('prise.handover')->adopt($number, $framing, null, \PyCore::bytes(self::given($parcel)));
    }

    /**
     * Python's socket.socket, as a stream of PHP; blocking. Closing it leaves Python's open.
     *
     * @return resource
     * @throws Refused for TLS, for what is no open socket, and outside of php-cli, where PHP refuses php://fd
     */
    public static function toStream(object $socket): mixed
    {
        if (PHP_SAPI !== 'cli') {
            throw new Refused('php://fd is for php-cli only, and this is ' . PHP_SAPI . ': hand it over by a Channel');
        }
        if (in_array((string) \PyCore::hasattr($socket, 'unwrap'), ['1', 'True'], true)) { // ssl.SSLSocket
            throw new Refused("an SSLSocket's keys are known to Python alone: PHP would read what is encrypted");
        }
        $number = (int) (string) $socket->fileno();
        [$stream, $said] = Warnings::caught(static fn() => fopen("php://fd/$number", 'r+'));
        if ($stream === false) {
            throw new Refused("descriptor $number of Python cannot be used here: $said");
        }
        if (stream_get_meta_data($stream)['stream_type'] === 'STDIO') {
            fclose($stream);
            throw new Refused("descriptor $number of Python is no socket");
        }
        stream_set_blocking($stream, true);
        return $stream;
    }

    /** Python's own copy of the descriptor, so that either side can close without the other. */
    private static function duplicate(Parcel $parcel): mixed
    {
        return \PyCore::import('os')->dup(\PyCore::fileno($parcel->stream));
    }

    /** What PHP had read; the connection is Python's too from here on. */
    private static function given(Parcel $parcel): string
    {
        $pending = $parcel->pending();
        stream_set_blocking($parcel->stream, true);
        $parcel->letGo(keep: true);
        return $pending;
    }
}
