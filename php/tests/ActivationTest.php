<?php

declare(strict_types=1);

namespace Prise\Tests;

use PHPUnit\Framework\TestCase;

/**
 * Descriptors that systemd passes: from 3 on, counted in LISTEN_FDS, for the process in LISTEN_PID.
 */
final class ActivationTest extends TestCase
{
    private const SHOW = '
        putenv("LISTEN_PID=" . (getenv("LISTEN_PID") === "mine" ? getmypid() : getenv("LISTEN_PID")));
        foreach (Prise\Activation::listenFds($argv[1] ?: null) as $fd => $stream) {
            echo $fd, "=", stream_socket_get_name($stream, false), "=", Prise\Activation::names()[$fd], "\n";
        }
        Prise\Activation::forget();
        echo count(Prise\Activation::names());';

    /** @return array{string, string, string} what it prints, and the two addresses */
    private function shown(array $environment, string $name = ''): array
    {
        $one = stream_socket_server('tcp://127.0.0.1:0');
        $two = stream_socket_server('tcp://127.0.0.1:0');
        $program = new Program(self::SHOW, [$name], [3 => $one, 4 => $two], $environment);
        return [$program->output(), stream_socket_get_name($one, false), stream_socket_get_name($two, false)];
    }

    public function testTheyAreStreamsByTheirNumber(): void
    {
        [$shown, $one, $two] = $this->shown(['LISTEN_PID' => 'mine', 'LISTEN_FDS' => '2', 'LISTEN_FDNAMES' => 'web:admin']);
        $this->assertSame("3=$one=web\n4=$two=admin\n0", $shown);
    }

    public function testOrThoseOfOneName(): void
    {
        $environment = ['LISTEN_PID' => 'mine', 'LISTEN_FDS' => '2', 'LISTEN_FDNAMES' => 'web:admin'];
        [$shown, , $two] = $this->shown($environment, 'admin');
        $this->assertSame("4=$two=admin\n0", $shown);
    }

    public function testWithoutNamesTheyAreUnknown(): void
    {
        [$shown, $one] = $this->shown(['LISTEN_PID' => 'mine', 'LISTEN_FDS' => '1']);
        $this->assertSame("3=$one=unknown\n0", $shown);
    }

    public function testWhatWasMeantForAnotherProcessIsNotTaken(): void
    {
        $this->assertSame('0', $this->shown(['LISTEN_PID' => '1', 'LISTEN_FDS' => '2'])[0]);
        $this->assertSame('0', $this->shown(['LISTEN_PID' => '', 'LISTEN_FDS' => '2'])[0]);
    }

    public function testNumbersThatMakeNoSenseAreNothing(): void
    {
        foreach (['', '-1', '0', 'x', '99999999999', '2 3'] as $count) {
            $this->assertSame('0', $this->shown(['LISTEN_PID' => 'mine', 'LISTEN_FDS' => $count])[0], $count);
        }
    }
}
