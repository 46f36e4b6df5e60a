<?php

declare(strict_types=1);

namespace Prise;

/**
 * PHP's network functions say what went wrong in a warning, and often nowhere else.
 *
 * @internal
 */
final class Warnings
{
    /**
     * Calls a function, and catches what it would print. A handler of its own, because under `@` an application's handler is
     * still called, and may throw.
     *
     * @template T
     * @param callable(): T $call
     * @return array{T, string} what it returned, and its last warning
     */
    public static function caught(callable $call): array
    {
        $said = '';
        set_error_handler(static function (int $level, string $message) use (&$said): bool {
            // "socket_connect(): unable to connect [111]: Connection refused": the function is of no interest to a reader
            $said = (string) preg_replace('/^\w+\(.*?\): /', '', $message);
            return true;
        });
        try {
            $result = $call();
        } finally {
            restore_error_handler();
        }
        return [$result, $said];
    }
}
