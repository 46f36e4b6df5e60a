<?php

/**
 * What the tests in Python tell these programs: JSON, as the first argument (php-cli) or a FastCGI parameter (php-fpm).
 */

declare(strict_types=1);

require __DIR__ . '/../../autoload.php';

$given = json_decode($argv[1] ?? $_SERVER['GIVEN'], true, flags: JSON_THROW_ON_ERROR);

/** One fact for the test: a line of JSON. */
function say(mixed ...$facts): void
{
    echo json_encode($facts, JSON_THROW_ON_ERROR), "\n";
    PHP_SAPI === 'cli' ? fflush(STDOUT) : flush();
}

set_exception_handler(static function (Throwable $error): void {
    say(error: (new ReflectionClass($error))->getShortName(), message: $error->getMessage());
});
