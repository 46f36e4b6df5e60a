<?php

declare(strict_types=1);

namespace Prise\Tests;

/**
 * A piece of PHP in a process of its own, with the package loaded: `$argv[1]`... and descriptors are what it is given.
 */
final class Program
{
    /** @var resource */
    private mixed $process;

    /** @var array<int, resource> */
    private array $pipes = [];

    /** @param array<int, resource> $streams by the descriptor that they become */
    public function __construct(string $code, array $arguments = [], array $streams = [], array $environment = [])
    {
        $streams += [0 => ['file', '/dev/null', 'r'], 1 => ['pipe', 'w'], 2 => ['pipe', 'w']];
        ksort($streams); // one that is put at a high number first could take the place of another that comes later
        $before = 'require ' . var_export(dirname(__DIR__) . '/autoload.php', true) . ';';
        $this->process = proc_open(
            [PHP_BINARY, '-d', 'display_errors=stderr', '-r', $before . $code, '--', ...$arguments],
            $streams,
            $this->pipes,
            null,
            $environment + getenv(),
        );
    }

    /** All that it prints, when it has ended. */
    public function output(): string
    {
        $output = '';
        foreach ($this->pipes as $pipe) {
            $output .= stream_get_contents($pipe);
            fclose($pipe);
        }
        proc_close($this->process);
        return $output;
    }

    /** A line, while it runs. */
    public function line(): string
    {
        return (string) fgets($this->pipes[1]);
    }

    public function kill(): void
    {
        proc_terminate($this->process, 9);
        $this->output();
    }
}
