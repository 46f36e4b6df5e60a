<?php

declare(strict_types=1);

namespace Prise;

use Prise\Exception\ProtocolError;

/**
 * What rode on a frame: sockets arrive as Socket, anything else as a stream. One socket is due, and nothing else is kept.
 *
 * @internal
 */
final class Descriptors
{
    /**
     * @param list<\Socket|resource> $descriptors
     * @throws ProtocolError
     */
    public static function theOnlySocket(array $descriptors): \Socket
    {
        if (count($descriptors) !== 1) {
            throw new ProtocolError(sprintf('expected exactly one socket, got %d descriptors', count($descriptors)));
        }
        if (!$descriptors[0] instanceof \Socket) {
            throw new ProtocolError(
                'what came is no socket (PHP sends its standard input in place of a Socket object: '
                . 'give it the stream of socket_export_stream)',
            );
        }
        return $descriptors[0];
    }

    /**
     * Not left to the end of their life: an exception's trace may hold them.
     *
     * @param list<\Socket|resource> $descriptors
     */
    public static function closeAll(array $descriptors): void
    {
        foreach ($descriptors as $descriptor) {
            $descriptor instanceof \Socket ? socket_close($descriptor) : fclose($descriptor);
        }
    }
}
