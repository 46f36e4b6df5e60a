<?php

declare(strict_types=1);

namespace Prise;

/**
 * Programs that PHP starts inherit all its sockets, and hold them open: nobody sees their end. PHP has no call that says
 * otherwise (close-on-exec), except for descriptors that are received. So a socket is sent to ourselves.
 *
 * @internal
 */
final class CloseOnExec
{
    /** The same socket under another descriptor, or as it is where the system has no such flag. The one given is closed. */
    public static function of(\Socket $socket): \Socket
    {
        if (!defined('MSG_CMSG_CLOEXEC')) {
            return $socket;
        }
        $ends = [];
        if (!socket_create_pair(AF_UNIX, SOCK_STREAM, 0, $ends)) {
            return $socket;
        }
        $rights = ['level' => SOL_SOCKET, 'type' => SCM_RIGHTS, 'data' => [socket_export_stream($socket)]];
        $message = ['buffer_size' => 1, 'controllen' => socket_cmsg_space(SOL_SOCKET, SCM_RIGHTS, 1)];
        [$copy] = Warnings::caught(static function () use ($ends, $rights, &$message): mixed {
            return socket_sendmsg($ends[0], ['iov' => ['x'], 'control' => [$rights]], 0)
                && socket_recvmsg($ends[1], $message, MSG_CMSG_CLOEXEC)
                ? $message['control'][0]['data'][0] ?? null
                : null;
        });
        array_map('socket_close', $ends);
        if (!$copy instanceof \Socket) {
            return $socket;
        }
        socket_close($socket);
        return $copy;
    }
}
