<?php

declare(strict_types=1);

namespace Prise\Tests;

/**
 * A folder of our own, removed at the end.
 */
final class Folder
{
    private function __construct(public readonly string $path)
    {
    }

    public static function make(int $mode = 0700): self
    {
        $path = sys_get_temp_dir() . '/prise-' . bin2hex(random_bytes(6));
        mkdir($path);
        chmod($path, $mode);
        return new self($path);
    }

    public function __destruct()
    {
        array_map('unlink', glob("{$this->path}/*"));
        rmdir($this->path);
    }
}
