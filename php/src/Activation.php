<?php

declare(strict_types=1);

namespace Prise;

use Prise\Exception\HandoverException;

/**
 * The sockets that systemd, or a program that does as it does, started this one with (sd_listen_fds(3)).
 */
final class Activation
{
    private const FIRST = 3;

    private const MOST = 1024;

    /**
     * They keep their number: [3 => stream, 4 => stream...]. Empty when nothing was passed, or to another process.
     *
     * php-cli only: other kinds of PHP refuse php://fd. What you get are copies, the descriptors themselves stay open until
     * the program ends. A listening socket is for stream_socket_accept().
     *
     * @param string|null $name only those of this name (FileDescriptorName= in systemd.socket(5)); null: all
     * @return array<int, resource>
     * @throws HandoverException for what cannot be opened here
     */
    public static function listenFds(?string $name = null): array
    {
        $streams = [];
        foreach (self::names() as $fd => $its) {
            if ($name !== null && $name !== $its) {
                continue;
            }
            [$stream, $said] = Warnings::caught(static fn() => fopen("php://fd/$fd", 'r+'));
            if ($stream === false) {
                throw new HandoverException("descriptor $fd was passed to us and cannot be used here: $said");
            }
            stream_set_blocking($stream, true);
            $streams[$fd] = $stream;
        }
        return $streams;
    }

    /**
     * The name of each descriptor; "unknown" where none was given.
     *
     * @return array<int, string>
     */
    public static function names(): array
    {
        if (getenv('LISTEN_PID') !== (string) getmypid()) {
            return []; // they were meant for a process that started us
        }
        $count = filter_var(
            getenv('LISTEN_FDS'),
            FILTER_VALIDATE_INT,
            ['options' => ['min_range' => 1, 'max_range' => self::MOST]],
        );
        if ($count === false) {
            return [];
        }
        $given = explode(':', getenv('LISTEN_FDNAMES') ?: '');
        $names = [];
        for ($i = 0; $i < $count; $i++) {
            $names[self::FIRST + $i] = ($given[$i] ?? '') === '' ? 'unknown' : $given[$i];
        }
        return $names;
    }

    /** Removes the variables, so that programs which we start do not take them as theirs. */
    public static function forget(): void
    {
        foreach (['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES'] as $variable) {
            putenv($variable);
        }
    }
}
