<?php

declare(strict_types=1);

namespace Prise\Tests;

use PHPUnit\Framework\TestCase;
use Prise\Channel;
use Prise\Exception\HandoverException;
use Prise\Exception\ProtocolError;
use Prise\Exception\TimedOut;

/**
 * Taking a connection. What comes over the channel is not trusted: the raw peer says all it should not.
 */
final class ReceiveTest extends TestCase
{
    private RawPeer $peer;

    private Talk $talk;

    protected function setUp(): void
    {
        $this->peer = new RawPeer();
        $this->talk = new Talk();
    }

    public function testAStreamWithItsPendingBytesAndStateIsAcknowledgedBeforeItIsReturned(): void
    {
        $state = ['name' => 'Ünïcode ☃', 'bytes' => base64_encode("\0\xff"), 'half' => 0.5, 'none' => null, 'big' => PHP_INT_MAX];
        $header = RawPeer::handover(['state' => $state, 'pending' => 9, 'peer' => 'tcp://x', 'from the future' => 1]);
        $this->peer->say(RawPeer::frame($header, "two\nthr\0\xff"), [$this->talk->near]);
        fclose($this->talk->near);
        $received = $this->peer->channel->receive(5);

        $this->assertSame(['v' => 1, 'type' => 'ack', 'ok' => true], $this->peer->heard());
        $this->assertSame($state, $received->state);
        $this->assertSame("two\nthr\0\xff", $received->pending);
        $this->assertSame(['stream', 'tcp://x', null], [$received->kind, $received->header['peer'], $received->credentials]);
        $this->assertSame("two\n", $received->readLine());
        fwrite($this->talk->far, "ee\nfour");
        stream_socket_shutdown($this->talk->far, STREAM_SHUT_WR);
        $this->assertSame("thr\0\xffee\n", $received->readLine());
        $this->assertSame('four', $received->readLine());
        $this->assertNull($received->readLine());
        $this->assertTrue($received->atEnd());

        $received->write('the peer still hears us');
        $received->close();
        $this->assertSame('the peer still hears us', stream_get_contents($this->talk->far));
    }

    public function testAnIntegerBeyond64BitsLosesNoDigit(): void
    {
        $this->peer->say(
            RawPeer::frame('{"v":1,"type":"handover","state":{"id":123456789012345678901234567890}}'),
            [$this->talk->near],
        );
        $this->assertSame(['id' => '123456789012345678901234567890'], $this->peer->channel->receive(5)->state);
    }

    public function testAnObjectIsAnArrayTheEmptyOneToo(): void
    {
        $this->peer->say(RawPeer::frame('{"v":1,"type":"handover","state":{"a":{},"b":{"c":1}}}'), [$this->talk->near]);
        $this->assertSame(['a' => [], 'b' => ['c' => 1]], $this->peer->channel->receive(5)->state);
    }

    public function testFramesThatComeGluedTogetherAreToldApart(): void
    {
        $second = new Talk();
        $frame = RawPeer::frame(RawPeer::handover(['pending' => 2]), 'ab');
        $this->peer->say($frame, [$this->talk->near]);
        $this->peer->say($frame, [$second->near]);
        foreach ([$this->talk, $second] as $talk) {
            $received = $this->peer->channel->receive(5);
            fwrite($talk->far, 'c');
            $this->assertSame('ab', $received->read());
            $this->assertSame('c', $received->read());
        }
    }

    public function testItComesByteByByteToo(): void
    {
        $frame = RawPeer::frame(RawPeer::handover(['pending' => 3]), 'abc');
        [$channel, $theirs] = Channel::pair();
        $program = new Program(
            '$socket = socket_import_stream(STDIN);
            $near = stream_socket_client($argv[1]);
            foreach (str_split(base64_decode($argv[2])) as $i => $byte) {
                $rights = ["level" => SOL_SOCKET, "type" => SCM_RIGHTS, "data" => [$near]];
                socket_sendmsg($socket, ["iov" => [$byte], "control" => $i ? [] : [$rights]], 0);
            }
            socket_recv($socket, $answer, 100, 0);
            echo $answer;',
            [$this->listening($server), base64_encode($frame)],
            [0 => $theirs->stream()],
        );
        $theirs->close();
        $received = $channel->receive(5);
        $this->assertSame('abc', $received->pending);
        $this->assertStringContainsString('"ok":true', $program->output());
    }

    public function testItIsBlockingWhateverTheSenderHadSet(): void
    {
        stream_set_blocking($this->talk->near, false);
        $this->peer->say(RawPeer::frame(RawPeer::handover()), [$this->talk->near]);
        $received = $this->peer->channel->receive(5);
        $this->assertTrue(stream_get_meta_data($received->stream)['blocked']);
        $this->expectException(TimedOut::class);
        $received->read(timeout: 0.01);
    }

    public function testProgramsThatAreStartedDoNotInheritIt(): void
    {
        $this->peer->say(RawPeer::frame(RawPeer::handover()), [$this->talk->near]);
        fclose($this->talk->near);
        $received = $this->peer->channel->receive(5);
        $program = new Program('echo "ready\n"; sleep(30);');
        $this->assertSame("ready\n", $program->line());
        $received->close();
        $this->assertSame('', fread($this->talk->far, 10), 'the end, although the program lives');
        $this->assertTrue(feof($this->talk->far));
        $program->kill();
    }

    public function testAListenerAndADatagramSocketArriveAsWhatTheyAreWhateverTheHeaderSays(): void
    {
        $server = stream_socket_server('tcp://127.0.0.1:0');
        $this->peer->say(RawPeer::frame(RawPeer::handover()), [$server]);
        $received = $this->peer->channel->receive(5);
        $this->assertSame('listener', $received->kind);
        $far = stream_socket_client('tcp://' . stream_socket_get_name($server, false));
        fwrite(stream_socket_accept($received->stream, 5), 'welcome');
        $this->assertSame('welcome', fread($far, 100));

        $datagrams = stream_socket_server('udp://127.0.0.1:0', $code, $error, STREAM_SERVER_BIND);
        $this->peer->say(RawPeer::frame(RawPeer::handover()), [$datagrams]);
        $this->assertSame('datagram', $this->peer->channel->receive(5)->kind);
    }

    public function testASocketObjectSentByPhpIsRefusedWithTheExplanation(): void
    {
        $program = new Program(
            '$socket = socket_import_stream(fopen("php://fd/3", "r+"));
            $rights = ["level" => SOL_SOCKET, "type" => SCM_RIGHTS, "data" => [socket_create_listen(0)]];
            $json = json_encode(["v" => 1, "type" => "handover"]);
            socket_sendmsg($socket, ["iov" => [pack("N", strlen($json)) . $json], "control" => [$rights]], 0);
            socket_recv($socket, $answer, 4096, 0);
            echo $answer;',
            [],
            [3 => socket_export_stream($this->peer->socket)],
        );
        try {
            $this->peer->channel->receive(5);
            $this->fail('standard input was taken for a connection');
        } catch (ProtocolError $error) {
            $this->assertStringContainsString('socket_export_stream', $error->getMessage());
        }
        $this->assertStringContainsString('socket_export_stream', $program->output(), 'and the sender is told');
    }

    public function testOneSocketIsDueNeitherNoneNorTwo(): void
    {
        $this->peer->say(RawPeer::frame(RawPeer::handover()));
        $this->refused('expected exactly one socket, got 0 descriptors');
        $this->peer->say(RawPeer::frame(RawPeer::handover()), [$this->talk->near, $this->talk->near]);
        $this->refused('expected exactly one socket, got 2 descriptors');
        $this->peer->say(RawPeer::frame(RawPeer::handover()), [fopen(__FILE__, 'r')]);
        $this->refused('no socket');
        $this->peer->say(RawPeer::frame(['v' => 1, 'type' => 'music']), [$this->talk->near]);
        $this->refused('something else came');

        $this->peer->say(RawPeer::frame(RawPeer::handover()), [$this->talk->near]);
        $this->assertNotNull($this->peer->channel->receive(5), 'the channel goes on');
        fclose($this->talk->near);
    }

    public function testAllThatARefusedFrameBroughtIsClosed(): void
    {
        $this->peer->say(RawPeer::frame(['v' => 1, 'type' => 'music']), [$this->talk->near, $this->talk->near]);
        fclose($this->talk->near);
        $this->refused('something else came');
        $this->assertSame('', fread($this->talk->far, 10));
        $this->assertTrue(feof($this->talk->far));
    }

    public function testItIsClosedEvenWhileTheExceptionLivesWhoseTraceHoldsIt(): void
    {
        $before = ini_set('zend.exception_ignore_args', '0');
        $this->peer->say(RawPeer::frame(RawPeer::handover()), [$this->talk->near, $this->talk->near]);
        fclose($this->talk->near);
        $kept = null;
        try {
            $this->peer->channel->receive(5);
        } catch (ProtocolError $error) {
            $kept = $error;
        } finally {
            ini_set('zend.exception_ignore_args', $before);
        }
        $this->assertNotNull($kept);
        $this->assertSame('', fread($this->talk->far, 10));
        $this->assertTrue(feof($this->talk->far));
    }

    public function testMoreThan16DescriptorsAreAnAttack(): void
    {
        $this->peer->say(RawPeer::frame(RawPeer::handover()), array_fill(0, 40, $this->talk->near));
        $this->refused('too many descriptors', open: false);
    }

    /** @return iterable<string, array{string, string}> */
    public static function garbage(): iterable
    {
        yield 'text' => ["GET / HTTP/1.1\r\n\r\n", 'this is not a handover'];
        yield 'nothing' => ["\0\0\0\0", 'this is not a handover'];
        yield 'more than a MiB' => ["\0\x10\0\1", 'this is not a handover'];
        yield 'no JSON' => [RawPeer::frame('{"v":1,'), 'not JSON'];
        yield 'no UTF-8' => [RawPeer::frame("{\"v\":1,\"type\":\"\xff\"}"), 'not JSON'];
        yield 'too deep' => [RawPeer::frame(str_repeat('[', 600) . str_repeat(']', 600)), 'not JSON'];
        yield 'a list' => [RawPeer::frame('[1,2]'), 'an object with a type'];
        yield 'no type' => [RawPeer::frame('{"v":1}'), 'an object with a type'];
        yield 'no version' => [RawPeer::frame('{"type":"handover"}'), 'speaks version null'];
        yield 'another version' => [RawPeer::frame(RawPeer::handover(['v' => 2])), 'speaks version 2'];
        yield 'negative' => [RawPeer::frame(RawPeer::handover(['pending' => -1])), 'impossible'];
        yield 'text for a number' => [RawPeer::frame(RawPeer::handover(['pending' => '7'])), 'impossible'];
        yield 'a gigabyte' => [RawPeer::frame(RawPeer::handover(['pending' => 1 << 30])), 'impossible'];
    }

    /** @dataProvider garbage */
    public function testGarbageIsRefusedAndClosesTheChannel(string $bytes, string $why): void
    {
        $this->peer->say($bytes, [$this->talk->near]);
        fclose($this->talk->near);
        $this->refused($why, open: false);
        $this->assertSame('', fread($this->talk->far, 10), 'what came with it is closed');
        $this->assertTrue(feof($this->talk->far));
    }

    public function testRandomBytesEndInOneOfOurOwnErrors(): void
    {
        for ($i = 0; $i < 200; $i++) {
            $peer = new RawPeer();
            $bytes = random_bytes(mt_rand(1, 64));
            $peer->say(mt_rand(0, 1) ? "\0\0\0" . $bytes : $bytes);
            $peer->leave();
            try {
                $this->assertNull($peer->channel->receive(5));
            } catch (HandoverException) {
                $this->assertFalse($peer->channel->isOpen(), bin2hex($bytes));
            }
        }
    }

    public function testASenderThatIsGoneInTheMiddleIsSaidSo(): void
    {
        $frame = RawPeer::frame(RawPeer::handover(['pending' => 3]), 'abc');
        for ($cut = 1; $cut < strlen($frame); $cut += 7) {
            $peer = new RawPeer();
            $talk = new Talk();
            $peer->say(substr($frame, 0, $cut), [$talk->near]);
            fclose($talk->near);
            $peer->leave();
            try {
                $peer->channel->receive(5);
                $this->fail("of $cut bytes a connection was made");
            } catch (ProtocolError $error) {
                $this->assertStringContainsString('in the middle', $error->getMessage());
            }
            $this->assertSame('', fread($talk->far, 10));
            $this->assertTrue(feof($talk->far), 'closed on both sides');
        }
    }

    public function testASenderThatIsGoneBeforeTheAcknowledgementDoesNotLeaveItWithUs(): void
    {
        $this->peer->say(RawPeer::frame(RawPeer::handover()), [$this->talk->near]);
        fclose($this->talk->near);
        $this->peer->leave();
        try {
            $this->peer->channel->receive(5);
            $this->fail('taken');
        } catch (HandoverException) {
            $this->assertFalse($this->peer->channel->isOpen());
        }
        $this->assertSame('', fread($this->talk->far, 10));
        $this->assertTrue(feof($this->talk->far));
    }

    public function testNothingWithinTheTimeLosesNothing(): void
    {
        try {
            $this->peer->channel->receive(0.01);
            $this->fail('something came');
        } catch (TimedOut) {
        }
        $this->peer->say(RawPeer::frame(RawPeer::handover()), [$this->talk->near]);
        $this->assertNotNull($this->peer->channel->receive(5));
    }

    public function testWaitingCostsNothingOnAChannelThatWasNotBlockingEither(): void
    {
        [$ours, $theirs] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        stream_set_blocking($ours, false);
        $channel = Channel::fromStream($ours);
        $work = static fn(array $used) => $used['ru_utime.tv_sec'] + $used['ru_stime.tv_sec']
            + ($used['ru_utime.tv_usec'] + $used['ru_stime.tv_usec']) / 1e6;
        $before = $work(getrusage());
        try {
            $channel->receive(0.3);
            $this->fail('something came');
        } catch (TimedOut) {
            $this->assertLessThan(0.15, $work(getrusage()) - $before, 'seconds of the processor');
        }
        fclose($theirs);
    }

    public function testTheEndOfTheChannelIsNull(): void
    {
        $this->peer->leave();
        $this->assertNull($this->peer->channel->receive(5));
    }

    public function testSoIsAChannelThatWasClosedWithOurAnswerUnread(): void
    {
        $this->peer->say(RawPeer::frame(RawPeer::handover()), [$this->talk->near]);
        $this->assertNotNull($this->peer->channel->receive(5));
        $this->peer->leave();
        $this->assertNull($this->peer->channel->receive(5));
    }

    private function refused(string $why, bool $open = true): void
    {
        try {
            $this->peer->channel->receive(5);
            $this->fail('it was taken');
        } catch (ProtocolError $error) {
            $this->assertStringContainsString($why, $error->getMessage());
        }
        $answer = $this->peer->heard();
        $this->assertSame([1, 'ack', false], [$answer['v'], $answer['type'], $answer['ok']]);
        $this->assertStringContainsString($why, $answer['error']);
        $this->assertSame($open, $this->peer->channel->isOpen());
    }

    private function listening(mixed &$server): string
    {
        $server = stream_socket_server('tcp://127.0.0.1:0');
        return 'tcp://' . stream_socket_get_name($server, false);
    }
}
