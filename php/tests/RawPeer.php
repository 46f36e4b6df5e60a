<?php

declare(strict_types=1);

namespace Prise\Tests;

use Prise\Channel;

/**
 * The other end of a channel, which says what it likes: raw bytes and raw descriptors.
 */
final class RawPeer
{
    public readonly \Socket $socket;

    public readonly Channel $channel;

    public function __construct()
    {
        [$ours, $theirs] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        $this->socket = socket_import_stream($theirs);
        socket_set_option($this->socket, SOL_SOCKET, SO_RCVTIMEO, ['sec' => 5, 'usec' => 0]);
        $this->channel = Channel::fromStream($ours);
    }

    public static function frame(array|string $header, string $pending = ''): string
    {
        $json = is_string($header) ? $header : json_encode($header);
        return pack('N', strlen($json)) . $json . $pending;
    }

    public static function handover(array $more = []): array
    {
        return $more + ['v' => 1, 'type' => 'handover', 'kind' => 'stream', 'state' => null];
    }

    /** @param array $descriptors as given to socket_sendmsg(), Sockets too */
    public function say(string $bytes, array $descriptors = []): void
    {
        $control = ['level' => SOL_SOCKET, 'type' => SCM_RIGHTS, 'data' => $descriptors];
        socket_sendmsg($this->socket, ['iov' => [$bytes], 'control' => $descriptors ? [$control] : []], MSG_NOSIGNAL);
    }

    /** The next header, with what follows the frame. */
    public function heard(): array
    {
        $size = unpack('N', $this->bytes(4))[1];
        return json_decode($this->bytes($size), true);
    }

    public function bytes(int $size): string
    {
        $data = '';
        while (strlen($data) < $size && socket_recv($this->socket, $piece, $size - strlen($data), 0)) {
            $data .= $piece;
        }
        return $data;
    }

    public function leave(): void
    {
        socket_close($this->socket);
    }
}
