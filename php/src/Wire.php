<?php

declare(strict_types=1);

namespace Prise;

use Prise\Exception\HandoverException;
use Prise\Exception\ProtocolError;
use Prise\Exception\TimedOut;

/**
 * Exact reads and writes on the Unix socket of a channel, each with a deadline.
 *
 * The kernel does the waiting (SO_RCVTIMEO, SO_SNDTIMEO): socket_select() is limited to descriptors below 1024.
 *
 * @internal
 */
final class Wire
{
    private const CHUNK = 256 * 1024;

    /** A failed recvmsg() leaves its errno in the global socket_last_error() only, all others on the socket as well. */
    private const AGAIN = [SOCKET_EAGAIN, SOCKET_EINTR];

    /** @var array<int, float> seconds that the kernel was told last, by option */
    private array $told = [];

    public function __construct(public readonly \Socket $socket)
    {
        socket_set_block($socket); // the mode is shared by all copies of a descriptor, so it may be anything
    }

    /**
     * Sends all of it; the stream's descriptor rides on the first bytes.
     *
     * @param resource|null $stream never a Socket: PHP sends standard input in the place of one (php-src pull 22338)
     * @throws TimedOut
     * @throws HandoverException
     */
    public function send(string $bytes, $stream, Deadline $until): void
    {
        $at = 0;
        if ($stream !== null) {
            $rights = ['level' => SOL_SOCKET, 'type' => SCM_RIGHTS, 'data' => [$stream]];
            $message = ['iov' => [substr($bytes, 0, self::CHUNK)], 'control' => [$rights]];
            $at = $this->again(
                SO_SNDTIMEO,
                $until,
                fn() => socket_sendmsg($this->socket, $message, MSG_NOSIGNAL),
            );
        }
        while ($at < strlen($bytes)) {
            $piece = substr($bytes, $at, self::CHUNK);
            $at += $this->again(
                SO_SNDTIMEO,
                $until,
                fn() => socket_send($this->socket, $piece, strlen($piece), MSG_NOSIGNAL),
            );
        }
    }

    /**
     * The first bytes of a frame; '' at the end. What rides on them is added to the arguments, whatever happens.
     *
     * @param list<\Socket|resource> $descriptors
     * @param array{pid: int, uid: int, gid: int}|null $credentials
     * @throws TimedOut when nothing has come
     * @throws ProtocolError
     * @throws HandoverException
     */
    public function begin(Deadline $first, float $rest, array &$descriptors, ?array &$credentials): string
    {
        $data = '';
        $credentials = null;
        $until = $first;
        while (strlen($data) < Frame::LENGTH) {
            $message = [
                'buffer_size' => Frame::LENGTH - strlen($data),
                'controllen' => socket_cmsg_space(SOL_SOCKET, SCM_RIGHTS, Frame::MOST_DESCRIPTORS)
                    + (defined('SCM_CREDENTIALS') ? socket_cmsg_space(SOL_SOCKET, SCM_CREDENTIALS) : 0),
            ];
            try {
                $this->again(SO_RCVTIMEO, $until, function () use (&$message): int|false {
                    return socket_recvmsg($this->socket, $message, defined('MSG_CMSG_CLOEXEC') ? MSG_CMSG_CLOEXEC : 0);
                });
            } catch (TimedOut $error) {
                throw $data === '' ? $error : new ProtocolError('the other process stopped in the middle of a handover');
            }
            $message += ['control' => [], 'flags' => 0, 'iov' => []]; // of a channel that was reset nothing is known
            foreach ($message['control'] as $control) {
                if ($control['level'] === SOL_SOCKET && $control['type'] === SCM_RIGHTS) {
                    array_push($descriptors, ...$control['data']);
                } elseif ($control['level'] === SOL_SOCKET && is_array($control['data'])) {
                    $credentials = $control['data'];
                }
            }
            if ($message['flags'] & MSG_CTRUNC) {
                throw new ProtocolError(
                    'too many descriptors came at once, or this process has no room for them (ulimit -n)',
                );
            }
            $piece = implode('', $message['iov']);
            if ($piece === '') {
                if ($data !== '') {
                    throw new ProtocolError('the channel ended in the middle of a handover');
                }
                break;
            }
            $data .= $piece;
            $until = Deadline::in($rest);
        }
        return $data;
    }

    /**
     * Exactly so many bytes. '' when the other side has closed before the first of them.
     *
     * @throws TimedOut
     * @throws ProtocolError when it ends in the middle
     * @throws HandoverException
     */
    public function receive(int $size, Deadline $until): string
    {
        $data = '';
        while (strlen($data) < $size) {
            $piece = '';
            $most = min($size - strlen($data), self::CHUNK);
            $got = $this->again(SO_RCVTIMEO, $until, function () use (&$piece, $most): int|false {
                return socket_recv($this->socket, $piece, $most, 0);
            });
            if ($got === 0) {
                if ($data !== '') {
                    throw new ProtocolError('the channel ended in the middle of a handover');
                }
                break;
            }
            $data .= $piece;
        }
        return $data;
    }

    public function close(): void
    {
        socket_close($this->socket);
    }

    /**
     * Calls until it neither fails nor was interrupted by a signal.
     *
     * @param callable(): (int|false) $call
     */
    private function again(int $option, Deadline $until, callable $call): int
    {
        while (true) {
            $this->tell($option, $until);
            socket_clear_error();
            socket_clear_error($this->socket);
            [$result, $said] = Warnings::caught($call);
            if ($result !== false) {
                return $result;
            }
            $code = socket_last_error() ?: socket_last_error($this->socket);
            if (!in_array($code, self::AGAIN, true)) {
                $cause = $code ? socket_strerror($code) : $said;
                if ($code === SOCKET_ECONNRESET && $option === SO_RCVTIMEO) {
                    return 0; // the other side has closed without reading all; what it had said before comes first
                }
                throw new HandoverException("the channel broke: $cause");
            }
            if ($until->left() === 0.0) {
                throw new TimedOut('the other process did not do its part in time');
            }
        }
    }

    /** Sets the kernel's timeout to what is left, unless the last one is about that: it saves a system call. */
    private function tell(int $option, Deadline $until): void
    {
        $left = $until->left() ?? 0.0; // 0: for ever
        if ($until->left() !== null) {
            $left = max($left, 1e-6);
        }
        $told = $this->told[$option] ?? 0.0; // a new socket waits for ever
        if ($left === $told || ($left > 0.0 && $left <= $told && $left > 0.98 * $told)) {
            return;
        }
        $time = ['sec' => (int) $left, 'usec' => (int) (fmod($left, 1.0) * 1e6)];
        $time['usec'] = $left > 0.0 && $left < 1.0 ? max(1, $time['usec']) : $time['usec'];
        socket_set_option($this->socket, SOL_SOCKET, $option, $time);
        $this->told[$option] = $left;
    }
}
