<?php

declare(strict_types=1);

namespace Prise\Tests;

use PHPUnit\Framework\TestCase;
use Prise\Exception\HandoverException;
use Prise\Exception\TimedOut;
use Prise\Received;

/**
 * Reading a connection that changed hands: the pending bytes first, then what comes, as if nothing had happened.
 */
final class ReceivedTest extends TestCase
{
    private Talk $talk;

    protected function setUp(): void
    {
        $this->talk = new Talk();
    }

    private function received(string $pending): Received
    {
        return new Received(socket_import_stream($this->talk->near), [], $pending, null);
    }

    public function testWhereverTheBytesWereCutTheLinesAreTheSame(): void
    {
        $text = "one\n\ntwo\r\nthree";
        for ($cut = 0; $cut <= strlen($text); $cut++) {
            $this->talk = new Talk();
            $received = $this->received(substr($text, 0, $cut));
            fwrite($this->talk->far, substr($text, $cut));
            fclose($this->talk->far);
            $lines = [];
            while (($line = $received->readLine()) !== null) {
                $lines[] = $line;
            }
            $this->assertSame(["one\n", "\n", "two\r\n", 'three'], $lines, "cut at $cut");
        }
    }

    public function testReadServesThePendingBytesAndDoesNotWaitForMore(): void
    {
        $received = $this->received('abcdef');
        $this->assertSame('abcd', $received->read(4));
        $this->assertSame('ef', $received->remaining());
        $this->assertSame('ef', $received->read(4));
        fclose($this->talk->far);
        $this->assertSame('', $received->read(4));
        $this->assertTrue($received->atEnd());
    }

    public function testALineThatIsTooLongComesInPieces(): void
    {
        $received = $this->received('0123456');
        fwrite($this->talk->far, "789\nrest\n");
        $this->assertSame(['01234', '56789', "\n", "rest\n"], [
            $received->readLine(5),
            $received->readLine(5),
            $received->readLine(5),
            $received->readLine(5),
        ]);
    }

    public function testALineThatIsNotWholeInTimeIsNotLost(): void
    {
        $received = $this->received('pen');
        fwrite($this->talk->far, 'ding');
        try {
            $received->readLine(timeout: 0.02);
            $this->fail('no line has come');
        } catch (TimedOut) {
        }
        fwrite($this->talk->far, " line\n");
        $this->assertSame("pending line\n", $received->readLine(timeout: 5));
    }

    public function testTheBareStreamIsThereWhenNothingIsPending(): void
    {
        $received = $this->received("line\n");
        try {
            $received->bare();
            $this->fail('5 bytes would be missed');
        } catch (HandoverException $error) {
            $this->assertStringContainsString('5 bytes', $error->getMessage());
        }
        $received->readLine();
        fwrite($this->talk->far, 'x');
        $this->assertSame('x', fread($received->bare(), 10));
    }

    public function testHalfCloseTellsThePeerTheEndAndStillReads(): void
    {
        $received = $this->received('');
        $received->write('last words');
        $received->endWriting();
        $this->assertSame('last words', stream_get_contents($this->talk->far));
        fwrite($this->talk->far, 'late answer');
        $this->assertSame('late answer', $received->read());
    }

    public function testAPeerThatIsGoneIsSaidSo(): void
    {
        $received = $this->received('');
        fclose($this->talk->far);
        $this->expectException(HandoverException::class);
        $this->expectExceptionMessage('the peer is gone');
        for ($i = 0; $i < 100; $i++) {
            $received->write(str_repeat('x', 100000));
        }
    }

    public function testClosingTwiceIsHarmless(): void
    {
        $received = $this->received('');
        $received->close();
        $received->close();
        $this->assertSame('', stream_get_contents($this->talk->far));
    }
}
