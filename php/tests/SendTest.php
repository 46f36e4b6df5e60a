<?php

declare(strict_types=1);

namespace Prise\Tests;

use PHPUnit\Framework\TestCase;
use Prise\Channel;
use Prise\Exception\HandoverException;
use Prise\Exception\Refused;
use Prise\Exception\TimedOut;
use Prise\Exception\Uncertain;

/**
 * Giving a connection away. The other end is a raw one, which sees the bytes and the descriptors as they are.
 */
final class SendTest extends TestCase
{
    private RawPeer $peer;

    private Talk $talk;

    protected function setUp(): void
    {
        $this->peer = new RawPeer();
        $this->talk = new Talk();
    }

    /** The peer says this before anybody asks, so that send() need not wait. */
    private function answered(array $answer = ['v' => 1, 'type' => 'ack', 'ok' => true]): void
    {
        $this->peer->say(RawPeer::frame($answer));
    }

    public function testTheFrameIsALengthAHeaderAndThePendingBytesWithTheDescriptorOnTheFirstOfThem(): void
    {
        fwrite($this->talk->far, "first\nsecond\nthi");
        $this->assertSame("first\n", fgets($this->talk->near));
        $this->answered();
        $this->peer->channel->send($this->talk->near, ['name' => 'ada', 'city' => 'Zürich']);

        $message = ['buffer_size' => 4, 'controllen' => socket_cmsg_space(SOL_SOCKET, SCM_RIGHTS, 4)];
        socket_recvmsg($this->peer->socket, $message, 0);
        $this->assertCount(1, $message['control'][0]['data']);
        $json = $this->peer->bytes(unpack('N', $message['iov'][0])[1]);
        $this->assertStringContainsString('"city":"Zürich"', $json);
        $header = json_decode($json, true);
        $this->assertSame([1, 'handover', 'stream'], [$header['v'], $header['type'], $header['kind']]);
        $this->assertSame('tcp://' . stream_socket_get_name($this->talk->far, false), $header['peer']);
        $this->assertSame('tcp://' . stream_socket_get_name($this->talk->far, true), $header['local']);
        $this->assertSame("second\nthi", $this->peer->bytes($header['pending']));

        $copy = socket_export_stream($message['control'][0]['data'][0]);
        fwrite($copy, 'from the new owner');
        fclose($copy);
        $this->assertSame('from the new owner', stream_get_contents($this->talk->far), 'and the end: ours is closed');
    }

    public function testOurCopyIsClosedUnlessItIsKept(): void
    {
        $this->answered();
        $this->peer->channel->send($this->talk->near);
        $this->assertFalse(is_resource($this->talk->near));

        $kept = new Talk();
        $this->answered();
        $this->peer->channel->send($kept->near, keep: true);
        fwrite($kept->near, 'still here');
        $this->assertSame('still here', $kept->heard(10));
    }

    public function testASocketObjectIsSentAsItsStreamBecausePhpWouldSendStandardInputInItsPlace(): void
    {
        $server = socket_create_listen(0);
        $this->answered();
        $this->peer->channel->send($server);
        $message = ['buffer_size' => 4, 'controllen' => socket_cmsg_space(SOL_SOCKET, SCM_RIGHTS, 4)];
        socket_recvmsg($this->peer->socket, $message, 0);
        $this->assertInstanceOf(\Socket::class, $message['control'][0]['data'][0]);
        $header = json_decode($this->peer->bytes(unpack('N', $message['iov'][0])[1]), true);
        $this->assertSame('listener', $header['kind']);
        $this->expectException(\Error::class); // ours is closed
        socket_getsockname($server, $address);
    }

    public function testADatagramSocketIsSaidToBeOne(): void
    {
        $this->answered();
        $this->peer->channel->send(stream_socket_server('udp://127.0.0.1:0', $code, $error, STREAM_SERVER_BIND));
        $this->assertSame('datagram', $this->peer->heard()['kind']);
    }

    public function testANonBlockingStreamBecomesBlockingBecauseCopiesShareTheMode(): void
    {
        stream_set_blocking($this->talk->near, false);
        $this->answered();
        $this->peer->channel->send($this->talk->near, keep: true);
        $this->assertTrue(stream_get_meta_data($this->talk->near)['blocked']);
    }

    /** @return iterable<string, array{callable(): mixed, string}> */
    public static function whatCannotChangeHands(): iterable
    {
        yield 'a number' => [fn() => 5, 'not int'];
        yield 'a closed stream' => [function () {
            $stream = (new Talk())->near;
            fclose($stream);
            return $stream;
        }, 'not resource (closed)'];
        yield 'a closed Socket' => [function () {
            $socket = socket_create_listen(0);
            socket_close($socket);
            return $socket;
        }, 'already been closed'];
        yield 'memory' => [fn() => fopen('php://memory', 'r+'), 'MEMORY stream is no socket'];
        yield 'a temporary file' => [fn() => fopen('php://temp', 'r+'), 'TEMP stream is no socket'];
        yield 'a file' => [fn() => fopen(__FILE__, 'r'), 'STDIO stream is no socket'];
        yield 'a filtered socket' => [function () {
            $stream = (new Talk())->near;
            stream_filter_append($stream, 'string.toupper');
            return $stream;
        }, 'cannot'];
    }

    /** @dataProvider whatCannotChangeHands */
    public function testWhatIsNoOpenSocketIsRefusedBeforeAnythingIsSent(callable $make, string $why): void
    {
        $what = $make();
        try {
            $this->peer->channel->send($what);
            $this->fail('it was sent');
        } catch (Refused $error) {
            $this->assertStringContainsString($why, $error->getMessage());
        }
        $this->assertTrue($this->peer->channel->isOpen());
        $this->assertNothingWasSent();
    }

    public function testTlsIsRefused(): void
    {
        $near = TlsTalk::near();
        try {
            $this->peer->channel->send($near);
            $this->fail('it was sent');
        } catch (Refused $error) {
            $this->assertStringContainsString('TLS', $error->getMessage());
        }
        $this->assertNothingWasSent();
    }

    public function testBeforeTlsBeginsAStreamThatCouldHaveItChangesHands(): void
    {
        $stream = socket_export_stream(socket_import_stream($this->talk->near));
        $this->answered();
        $this->peer->channel->send($stream);
        $this->assertSame('stream', $this->peer->heard()['kind']);
    }

    /** @return iterable<string, array{mixed, string}> */
    public static function whatIsNoState(): iterable
    {
        yield 'bytes' => ["\xff\xfe", 'base64'];
        yield 'no number' => [NAN, 'JSON'];
        yield 'a resource' => [STDERR, 'JSON'];
        yield 'too much' => [str_repeat('x', 1024 * 1024), 'too large'];
    }

    /** @dataProvider whatIsNoState */
    public function testAStateThatJsonCannotSayIsRefusedAndNothingIsTakenFromTheStream(mixed $state, string $why): void
    {
        fwrite($this->talk->far, "one\ntwo\n");
        fgets($this->talk->near);
        try {
            $this->peer->channel->send($this->talk->near, $state);
            $this->fail('it was sent');
        } catch (Refused $error) {
            $this->assertStringContainsString($why, $error->getMessage());
        }
        $this->assertSame("two\n", fgets($this->talk->near));
        $this->assertNothingWasSent();
    }

    public function testARefusalSaysWhyAndGivesBackWhatPhpCannotPutBack(): void
    {
        fwrite($this->talk->far, "one\ntwo\n");
        fgets($this->talk->near);
        $this->answered(['v' => 1, 'type' => 'ack', 'ok' => false, 'error' => 'no room']);
        try {
            $this->peer->channel->send($this->talk->near);
            $this->fail('it was taken');
        } catch (Refused $error) {
            $this->assertStringContainsString('no room', $error->getMessage());
            $this->assertSame("two\n", $error->pending);
        }
        fwrite($this->talk->near, 'still ours');
        $this->assertSame('still ours', $this->talk->heard(10));
        $this->assertTrue($this->peer->channel->isOpen());
    }

    public function testAfterARefusalTheModeIsWhatItWas(): void
    {
        stream_set_blocking($this->talk->near, false);
        $this->answered(['v' => 1, 'type' => 'ack', 'ok' => false]);
        try {
            $this->peer->channel->send($this->talk->near);
            $this->fail('it was taken');
        } catch (Refused) {
            $this->assertFalse(stream_get_meta_data($this->talk->near)['blocked']);
        }
    }

    public function testAChannelThatIsClosedInsteadOfAnAnswerMeansThatNobodyTookIt(): void
    {
        socket_shutdown($this->peer->socket, 1); // what it says has ended, what we say still arrives
        try {
            $this->peer->channel->send($this->talk->near);
            $this->fail('it was taken');
        } catch (Refused $error) {
            $this->assertStringContainsString('closed the channel', $error->getMessage());
        }
        $this->assertTrue(is_resource($this->talk->near));
        $this->assertFalse($this->peer->channel->isOpen());
    }

    public function testAPeerThatDiesWithTheFrameUnreadHasNotTakenItEither(): void
    {
        [$channel, $theirs] = Channel::pair();
        $dying = new Program('
            socket_recv(socket_import_stream(STDIN), $byte, 1, MSG_PEEK);
            posix_kill(getmypid(), 9);', [], [0 => $theirs->stream()]);
        $theirs->close();
        try {
            $channel->send($this->talk->near);
            $this->fail('it was taken');
        } catch (Refused) {
            $this->assertTrue(is_resource($this->talk->near));
        } finally {
            $dying->output();
        }
    }

    public function testAPeerThatIsGoneLeavesItOurs(): void
    {
        $this->peer->leave();
        try {
            $this->peer->channel->send($this->talk->near);
            $this->fail('it was taken');
        } catch (HandoverException $error) {
            $this->assertStringContainsString('Broken pipe', $error->getMessage());
        }
        $this->assertTrue(is_resource($this->talk->near));
        $this->assertFalse($this->peer->channel->isOpen());
    }

    public function testItDoesNotDieOfTheSignalEither(): void
    {
        $program = new Program(
            'pcntl_signal(SIGPIPE, SIG_DFL); // PHP ignores it, an application may not
            try {
                [$channel, $other] = Prise\Channel::pair();
                $other->close();
                $channel->send(stream_socket_server("tcp://127.0.0.1:0"));
            } catch (Prise\Exception\HandoverException) {
                echo "alive";
            }',
        );
        $this->assertSame('alive', $program->output());
    }

    public function testNoAnswerInTimeClosesOurCopyAndTheChannel(): void
    {
        $before = hrtime(true);
        try {
            $this->peer->channel->send($this->talk->near, timeout: 0.05);
            $this->fail('it was taken');
        } catch (Uncertain) {
            $this->assertLessThan(2e9, hrtime(true) - $before);
        }
        $this->assertFalse(is_resource($this->talk->near));
        $this->assertFalse($this->peer->channel->isOpen());
    }

    /** @return iterable<string, array{string}> */
    public static function noAnswer(): iterable
    {
        yield 'text' => ["HTTP/1.1 200 OK\r\n"];
        yield 'no JSON' => [RawPeer::frame('{"v":1')];
        yield 'a handover' => [RawPeer::frame(RawPeer::handover())];
        yield 'another version' => [RawPeer::frame(['v' => 2, 'type' => 'ack', 'ok' => true])];
        yield 'the beginning of one' => ["\0\0\0\x20{\"v\":"];
    }

    /** @dataProvider noAnswer */
    public function testAnAnswerThatIsNoneIsAsGoodAsNone(string $bytes): void
    {
        $this->peer->say($bytes);
        $this->expectException(Uncertain::class);
        $this->peer->channel->send($this->talk->near, timeout: 0.05);
    }

    public function testAFullChannelThatNobodyReadsIsGivenUpAndTheConnectionIsStillOurs(): void
    {
        try {
            $this->peer->channel->send($this->talk->near, str_repeat('x', 1024 * 1024 - 1000), timeout: 0.05);
            $this->fail('it was taken');
        } catch (TimedOut) {
            $this->assertTrue(is_resource($this->talk->near));
            $this->assertFalse($this->peer->channel->isOpen());
        }
    }

    public function testAClosedChannelSaysSo(): void
    {
        $this->peer->channel->close();
        $this->peer->channel->close();
        $this->expectExceptionMessage('the channel is closed');
        $this->peer->channel->send($this->talk->near);
    }

    public function testAnApplicationsErrorHandlerIsNotBotheredWithWhatWeHandle(): void
    {
        set_error_handler(static fn() => throw new \LogicException('called'));
        try {
            $this->peer->leave();
            $this->expectException(HandoverException::class);
            $this->peer->channel->send($this->talk->near);
        } finally {
            restore_error_handler();
        }
    }

    private function assertNothingWasSent(): void
    {
        [$got] = [@socket_recv($this->peer->socket, $data, 1, MSG_DONTWAIT)];
        $this->assertFalse($got);
    }
}
