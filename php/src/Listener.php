<?php

declare(strict_types=1);

namespace Prise;

use Prise\Exception\HandoverException;
use Prise\Exception\TimedOut;

/**
 * Where channels are waited for: a Unix socket that only those whom it is meant for can reach.
 *
 * The socket has its permissions (0600) before it has its name, and its folder may not be writable for everybody, unless it
 * is sticky like /tmp. Who connects is asked of the kernel: when accepting, and again for every frame, whose sender's user
 * the kernel writes beside it (SCM_CREDENTIALS, unix(7)). Linux only: elsewhere PHP cannot ask.
 */
final class Listener
{
    private const SO_PEERCRED = 17;

    /** @var list<int> */
    private readonly array $uids;

    private \Socket $socket;

    private bool $open = true;

    private int $inode;

    /**
     * @param string $path of the socket; an old one where nobody listens any more is replaced. A missing folder is made, 0700
     * @param list<int>|null $uids users whose processes may connect; null: our own
     * @param int $mode permissions of the socket; for processes of other users it must be wider, or chowned
     * @throws HandoverException
     */
    public function __construct(private readonly string $path, ?array $uids = null, int $mode = 0600)
    {
        if (!defined('SO_PASSCRED')) {
            throw new HandoverException('this system does not tell PHP who connects; let the other process listen');
        }
        $this->uids = $uids ?? [self::ownUid()];
        $this->checkFolder(dirname($path));
        $this->socket = $this->bound($mode);
        $this->inode = (int) fileinode($path);
    }

    public function __destruct()
    {
        $this->close();
    }

    /**
     * The next channel of a process of an allowed user; those of others are closed.
     *
     * @param float|null $timeout seconds; null waits for ever
     * @throws TimedOut
     * @throws HandoverException
     */
    public function accept(?float $timeout = null): Channel
    {
        $until = Deadline::in($timeout);
        while (true) {
            $left = $until->left();
            $left = $left === null ? 0.0 : max($left, 1e-3); // 0 is for ever
            $time = ['sec' => (int) $left, 'usec' => (int) (fmod($left, 1.0) * 1e6)];
            socket_set_option($this->socket, SOL_SOCKET, SO_RCVTIMEO, $time); // what accept() heeds, too (socket(7))
            socket_clear_error();
            [$socket, $said] = Warnings::caught(fn() => socket_accept($this->socket));
            if ($socket instanceof \Socket) {
                if ($this->isAllowed($socket)) {
                    return Channel::accepted($socket, $this->uids);
                }
                socket_close($socket);
            } elseif (!in_array(socket_last_error(), [SOCKET_EAGAIN, SOCKET_EINTR], true)) {
                throw new HandoverException("accept: $said");
            }
            if ($until->left() === 0.0) {
                throw new TimedOut('nobody has connected in time');
            }
        }
    }

    /**
     * For stream_select().
     *
     * @return resource
     */
    public function stream(): mixed
    {
        return socket_export_stream($this->socket);
    }

    /** Stops listening and removes the path, if it is still ours. */
    public function close(): void
    {
        if (!$this->open || !isset($this->socket)) {
            return;
        }
        $this->open = false;
        socket_close($this->socket);
        clearstatcache(true, $this->path);
        [$inode] = Warnings::caught(fn() => fileinode($this->path));
        if ($inode === $this->inode) {
            unlink($this->path);
        }
    }

    /** @throws HandoverException */
    private function checkFolder(string $folder): void
    {
        if (!is_dir($folder)) {
            [$made, $said] = Warnings::caught(static fn() => mkdir($folder, 0700, true));
            $made ?: throw new HandoverException("the folder $folder cannot be made: $said");
        }
        $mode = (int) fileperms($folder);
        if ($mode & 0002 && !($mode & 01000)) {
            throw new HandoverException(
                "anybody may write in $folder, so anybody could put a socket of theirs in place of this one; chmod 700 it",
            );
        }
    }

    private function bound(int $mode): \Socket
    {
        if ($this->somebodyListens()) {
            throw new HandoverException("somebody listens at {$this->path} already");
        }
        $fresh = $this->path . '.' . getmypid();
        $socket = socket_create(AF_UNIX, SOCK_STREAM, 0);
        $umask = umask(0777 & ~$mode);
        [$bound, $said] = Warnings::caught(static function () use ($socket, $fresh): bool {
            file_exists($fresh) && unlink($fresh);
            return socket_set_option($socket, SOL_SOCKET, SO_PASSCRED, 1) // accepted ones have it from their first byte
                && socket_bind($socket, $fresh)
                && socket_listen($socket, 128);
        });
        umask($umask);
        if (!$bound || !rename($fresh, $this->path)) {
            socket_close($socket);
            throw new HandoverException("{$this->path} cannot be listened on: $said");
        }
        return CloseOnExec::of($socket);
    }

    private function somebodyListens(): bool
    {
        clearstatcache(true, $this->path);
        if (!file_exists($this->path)) {
            return false;
        }
        if (filetype($this->path) !== 'socket') {
            throw new HandoverException("{$this->path} is there already and no socket; remove it yourself");
        }
        $probe = socket_create(AF_UNIX, SOCK_STREAM, 0);
        socket_set_option($probe, SOL_SOCKET, SO_SNDTIMEO, ['sec' => 1, 'usec' => 0]);
        [$connected] = Warnings::caught(fn() => socket_connect($probe, $this->path));
        $code = socket_last_error($probe);
        socket_close($probe);
        return $connected || $code !== SOCKET_ECONNREFUSED;
    }

    /**
     * Here PHP can learn the process only (SO_PEERCRED), whose user /proc tells. A process that has ended, or that cannot be
     * looked at, is not allowed. What it sends later is checked against the kernel's own word.
     */
    private function isAllowed(\Socket $socket): bool
    {
        $pid = socket_get_option($socket, SOL_SOCKET, self::SO_PEERCRED);
        return is_int($pid) && $pid > 0 && in_array(self::uidOf((string) $pid), $this->uids, true);
    }

    private static function ownUid(): int
    {
        return self::uidOf('self') ?? throw new HandoverException('/proc is not mounted: say which uids may connect');
    }

    /** The effective user of a process (proc(5)); null when that cannot be told. */
    private static function uidOf(string $process): ?int
    {
        [$status] = Warnings::caught(static fn() => file_get_contents("/proc/$process/status"));
        return preg_match('/^Uid:\s+\d+\s+(\d+)/m', (string) $status, $found) ? (int) $found[1] : null;
    }
}
