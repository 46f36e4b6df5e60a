<?php

declare(strict_types=1);

namespace Prise\Tests;

use PHPUnit\Framework\TestCase;
use Prise\Exception\Refused;
use Prise\Phpy;

/**
 * Both languages in one process, each with a copy of the same connection. Python is a real one, see PyCore.php.
 */
final class PhpyTest extends TestCase
{
    private Talk $talk;

    protected function setUp(): void
    {
        $this->talk = new Talk();
    }

    private static function connected(Talk $talk): \PyObject
    {
        return Phpy::toSocket($talk->near)[0];
    }

    public function testAStreamBecomesASocketAndWhatPhpHadReadComesWithIt(): void
    {
        fwrite($this->talk->far, "one\ntwo\n");
        fgets($this->talk->near);
        [$socket, $pending] = Phpy::toSocket($this->talk->near);
        $this->assertSame("two\n", $pending);
        fclose($this->talk->near);
        fwrite($this->talk->far, 'three');
        $this->assertSame('three', $socket->recv(100));
        $socket->sendall(\PyCore::bytes('bye'));
        $socket->close();
        $this->assertSame('bye', stream_get_contents($this->talk->far));
    }

    public function testTheSocketKnowsItsFamilyAndBlocksWhateverTheStreamDid(): void
    {
        [$near, $far] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        stream_set_blocking($near, false);
        [$socket] = Phpy::toSocket($near);
        $this->assertSame(\PyCore::ask('str', \PyCore::import('socket')->AF_UNIX), (string) $socket->family);
        $program = new Program('usleep(50000); fwrite(STDIN, "at last");', [], [0 => $far]);
        $this->assertSame('at last', $socket->recv(100), 'where a bare copy raises BlockingIOError');
        $program->output();
        $socket->close();
    }

    public function testAPythonSocketBecomesAStreamThatBlocksAndClosesAlone(): void
    {
        $socket = self::connected($this->talk);
        fclose($this->talk->near);
        $socket->settimeout(0.0);
        $stream = Phpy::toStream($socket);
        stream_set_timeout($stream, 5);
        fwrite($this->talk->far, "a line\nand more");
        $this->assertSame("a line\n", fgets($stream));
        fwrite($stream, 'from PHP, ');
        fclose($stream);
        $socket->sendall(\PyCore::bytes('from Python'));
        $socket->close();
        $this->assertSame('from PHP, from Python', stream_get_contents($this->talk->far));
    }

    public function testAStreamBecomesAConnectionOfPriseThatBeginsWithWhatPhpHadRead(): void
    {
        fwrite($this->talk->far, "one\ntwo\nthr");
        fgets($this->talk->near);
        $connection = Phpy::toConnection($this->talk->near);
        fclose($this->talk->near);
        fwrite($this->talk->far, "ee\n");
        $this->assertSame('two', $connection->receive());
        $this->assertSame('three', $connection->receive());
        $connection->send('thanks');
        $connection->close();
        $this->assertSame("thanks\n", stream_get_contents($this->talk->far));
    }

    public function testTlsIsRefusedInBothDirections(): void
    {
        try {
            Phpy::toSocket(TlsTalk::near());
            $this->fail('Python would read what is encrypted');
        } catch (Refused $error) {
            $this->assertStringContainsString('TLS', $error->getMessage());
        }
        $context = \PyCore::import('ssl')->_create_unverified_context();
        $wrapped = $context->wrap_socket(self::connected($this->talk), false, false);
        $this->expectExceptionMessage('keys');
        Phpy::toStream($wrapped);
    }

    public function testWhatIsNoOpenSocketIsRefused(): void
    {
        $socket = self::connected($this->talk);
        $socket->close();
        try {
            Phpy::toStream($socket);
            $this->fail('it is closed');
        } catch (Refused $error) {
            $this->assertStringContainsString('descriptor -1', $error->getMessage());
        }
        $this->expectExceptionMessage('no socket');
        Phpy::toStream(\PyCore::open('/dev/null'));
    }
}
