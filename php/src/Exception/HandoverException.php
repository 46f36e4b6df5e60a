<?php

declare(strict_types=1);

namespace Prise\Exception;

/**
 * A connection was not handed over; it is still ours, unless the class of the exception says otherwise.
 *
 * PHP cannot put bytes back into a stream. So when sending fails after they were taken from the stream's buffer, they are
 * in `$pending`: they come before whatever is read from the stream next.
 */
class HandoverException extends \RuntimeException
{
    public function __construct(string $message, public readonly string $pending = '', ?\Throwable $previous = null)
    {
        parent::__construct($message, 0, $previous);
    }
}
