<?php

declare(strict_types=1);

namespace Prise;

/**
 * A moment until which something has to be done, on a clock that nobody sets.
 *
 * @internal
 */
final class Deadline
{
    private function __construct(private readonly ?float $at)
    {
    }

    /** @param float|null $seconds from now; null: never */
    public static function in(?float $seconds): self
    {
        return new self($seconds === null ? null : hrtime(true) / 1e9 + $seconds);
    }

    /** Seconds that are left, 0.0 at the least; null: no end to them. */
    public function left(): ?float
    {
        return $this->at === null ? null : max(0.0, $this->at - hrtime(true) / 1e9);
    }
}
