<?php

declare(strict_types=1);

namespace Prise;

use Prise\Exception\Refused;

/**
 * What is given away: a stream that is checked, and what PHP had read from it already.
 *
 * @internal
 */
final class Parcel
{
    private const SO_ACCEPTCONN = 30;

    private const TYPE_OF_FILE = 0170000;

    private const SOCKET = 0140000;

    /** @var resource */
    public readonly mixed $stream;

    /** "stream", "listener" or "datagram" */
    public readonly string $kind;

    public readonly string $peer;

    public readonly string $local;

    public readonly bool $blocked;

    private string $pending = '';

    /**
     * @param mixed $given a stream, a Socket, or a Received
     * @throws Refused for anything that is no socket, and for TLS
     */
    public function __construct(private readonly mixed $given)
    {
        $this->stream = self::streamOf($given);
        $meta = stream_get_meta_data($this->stream);
        if (isset($meta['crypto'])) {
            throw new Refused(
                'a connection with TLS cannot change hands: its keys are known to this process alone. '
                . 'Hand it over before TLS begins, or pass the clear text on through stream_socket_pair()',
            );
        }
        if (((fstat($this->stream) ?: [])['mode'] ?? 0) & self::TYPE_OF_FILE ^ self::SOCKET) {
            throw new Refused("a {$meta['stream_type']} stream is no socket, and only sockets change hands");
        }
        [$socket, $said] = Warnings::caught(fn() => socket_import_stream($this->stream));
        if ($socket === false) {
            throw new Refused("this stream cannot change hands: $said"); // filters, for one
        }
        $this->kind = self::kindOf($socket);
        $this->peer = self::address($this->stream, true, $this->kind);
        $this->local = self::address($this->stream, false, $this->kind);
        $this->blocked = $meta['blocked'];
    }

    /** "stream", "listener" or "datagram", as the kernel knows it. */
    public static function kindOf(\Socket $socket): string
    {
        if (socket_get_option($socket, SOL_SOCKET, SO_TYPE) === SOCK_DGRAM) {
            return 'datagram';
        }
        [$listens] = Warnings::caught(static fn() => socket_get_option($socket, SOL_SOCKET, self::SO_ACCEPTCONN));
        return $listens ? 'listener' : 'stream';
    }

    /**
     * What a header says of it.
     *
     * @return array{kind: string, peer: string, local: string, pending: int}
     */
    public function header(): array
    {
        $pending = stream_get_meta_data($this->stream)['unread_bytes'];
        $pending += $this->given instanceof Received ? strlen($this->given->remaining()) : 0;
        if ($pending > Frame::MOST_PENDING) {
            throw new Refused("$pending bytes were read already, too many to be handed over");
        }
        return ['kind' => $this->kind, 'peer' => $this->peer, 'local' => $this->local, 'pending' => $pending];
    }

    /** What was read from the peer and not used. Takes it out of the buffer: PHP can look at it in no other way. */
    public function pending(): string
    {
        if ($this->given instanceof Received) {
            $this->pending = $this->given->remaining();
        }
        while (($unread = stream_get_meta_data($this->stream)['unread_bytes']) > 0) {
            $this->pending .= fread($this->stream, $unread);
        }
        return $this->pending;
    }

    /** It is in other hands: our copy is closed, unless it is to be kept. */
    public function letGo(bool $keep): void
    {
        if ($this->given instanceof Received) {
            $this->given->hold('');
        }
        if ($keep) {
            return; // and stays blocking: the mode is shared, the other process would suffer from another one
        }
        $this->given instanceof \Socket ? socket_close($this->given) : fclose($this->stream);
    }

    /** It is still ours. Returns the bytes that cannot be put back. */
    public function takeBack(): string
    {
        stream_set_blocking($this->stream, $this->blocked);
        if ($this->given instanceof Received) {
            $this->given->hold($this->pending);
            return '';
        }
        return $this->pending;
    }

    /**
     * @return resource
     * @throws Refused
     */
    private static function streamOf(mixed $given): mixed
    {
        if ($given instanceof Received) {
            $given = $given->stream;
        } elseif ($given instanceof \Socket) {
            try {
                [$stream, $said] = Warnings::caught(static fn() => socket_export_stream($given));
            } catch (\Error $error) { // "Socket is already closed"
                [$stream, $said] = [false, $error->getMessage()];
            }
            $given = $stream ?: throw new Refused("the Socket cannot change hands: $said");
        }
        if (!is_resource($given) || get_resource_type($given) !== 'stream') {
            $what = get_debug_type($given);
            throw new Refused("what is handed over is an open stream, a Socket or a Received, not $what");
        }
        return $given;
    }

    /** For people to read; the kernel knows better. */
    private static function address(mixed $stream, bool $peer, string $kind): string
    {
        [$name] = Warnings::caught(static fn() => stream_socket_get_name($stream, $peer));
        if (!is_string($name) || $name === '') {
            return '';
        }
        $printable = (string) preg_replace('/[^\x21-\x7e]/', '?', $name);
        $scheme = preg_match('/:\d+$/', $name) ? ($kind === 'datagram' ? 'udp' : 'tcp') : 'unix';
        return $scheme === 'unix' ? "unix:$printable" : "$scheme://$printable";
    }
}
