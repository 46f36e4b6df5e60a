<?php

/**
 * A worker of `prise serve php:script.php`: php worker.php AUTOLOAD SCRIPT
 *
 * The script returns the conversation, a function that is called with each connection:
 *
 *     <?php
 *     return function (Prise\Received $connection): void {
 *         while (($line = $connection->readLine()) !== null) {
 *             $connection->write($line);
 *         }
 *     };
 *
 * When the function returns, the peer sees the end ($connection->endWriting() tells it sooner). What it throws is logged, and
 * the worker goes on with the next connection; a fatal error ends the worker, and the pool starts another one. What is
 * printed (echo) is logged as well. How a worker talks with its pool: poolworker.py.
 */

declare(strict_types=1);

namespace Prise\Worker;

use Prise\Channel;
use Prise\Exception\HandoverException;
use Prise\Frame;
use Prise\Received;

function fail(string $why): never
{
    fwrite(STDERR, $why . "\n");
    exit(1);
}

/** What went wrong, in one line. */
function told(\Throwable $error): string
{
    $where = basename($error->getFile());
    return sprintf('%s: %s (%s, line %d)', $error::class, $error->getMessage(), $where, $error->getLine());
}

/** @return \Closure(Received): mixed */
function conversation(string $script): \Closure
{
    try {
        $found = (static fn() => require $script)();
    } catch (\Throwable $error) {
        fail(told($error));
    }
    if (!is_callable($found)) {
        fail(basename($script) . ' must return a function: return function (Prise\Received $connection): void { ... };');
    }
    return \Closure::fromCallable($found);
}

/** Why the conversation failed; '' when it did not. That the peer has gone is no failure. */
function held(\Closure $conversation, Received $connection): string
{
    try {
        $conversation($connection);
        return '';
    } catch (\Throwable $error) {
        if ($error instanceof HandoverException && is_resource($connection->stream) && feof($connection->stream)) {
            return '';
        }
        return json_decode(json_encode(substr(told($error), 0, 1000), JSON_INVALID_UTF8_SUBSTITUTE)); // as JSON can say it
    }
}

function ready(Channel $channel, string $error = '', bool $ended = false): void
{
    fwrite($channel->stream(), Frame::encode('ready', ['ok' => $error === '', 'error' => $error, 'ended' => $ended]));
}

function work(string $script): void
{
    $conversation = conversation($script);
    $channel = Channel::inherited((int) getenv('PRISE_CHANNEL'));
    ready($channel);
    while (($connection = $channel->receive()) !== null) {
        $error = held($conversation, $connection);
        $ended = is_resource($connection->stream); // what was closed may have been given away
        if ($ended) {
            $connection->endWriting();
            $connection->close();
        }
        unset($connection);
        ready($channel, $error, $ended);
    }
}

extension_loaded('sockets') || fail('PHP lacks the extension "sockets"; it belongs to PHP and may have to be enabled');
[, $autoload, $script] = $argv;
require $autoload;
unset($autoload);
work($script);
