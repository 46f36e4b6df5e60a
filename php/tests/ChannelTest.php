<?php

declare(strict_types=1);

namespace Prise\Tests;

use PHPUnit\Framework\TestCase;
use Prise\Channel;
use Prise\Exception\HandoverException;

/**
 * Between two programs of PHP: the ways in which a channel comes about, and what goes over it and back.
 */
final class ChannelTest extends TestCase
{
    private const ECHO = '
        while ($received = $channel->receive(5)) {
            $line = $received->readLine();
            $received->write(strtoupper($line));
            $channel->send($received, ["echoed" => $received->state]);
        }';

    private function echoedOver(Channel $channel, Program $program): void
    {
        $talk = new Talk();
        fwrite($talk->far, "first\nsecond\nthird\n");
        $this->assertSame("first\n", fgets($talk->near));
        $channel->send($talk->near, 'Ж');
        $this->assertSame("SECOND\n", $talk->heard(7));
        $back = $channel->receive(5);
        $channel->close();
        $this->assertSame(['echoed' => 'Ж'], $back->state);
        $this->assertSame("third\n", $back->readLine(), 'the rest has come back');
        $this->assertSame('', $program->output());
    }

    public function testAProgramIsGivenAChannelAsItsStandardInput(): void
    {
        [$channel, $theirs] = Channel::pair();
        $program = new Program(
            '$channel = Prise\Channel::inherited(0);' . self::ECHO,
            [],
            [0 => $theirs->stream()],
        );
        $theirs->close();
        $this->echoedOver($channel, $program);
    }

    public function testOrAsAnyOtherDescriptor(): void
    {
        [$channel, $theirs] = Channel::pair();
        $program = new Program(
            '$channel = Prise\Channel::inherited(7);' . self::ECHO,
            [],
            [7 => $theirs->stream()],
        );
        $theirs->close();
        $this->echoedOver($channel, $program);
    }

    public function testProgramsThatRunAlreadyConnect(): void
    {
        $folder = Folder::make();
        $program = new Program(
            '$listener = new Prise\Listener("$argv[1]/take");
            echo "listening\n";
            $channel = $listener->accept(5);' . self::ECHO,
            [$folder->path],
        );
        $this->assertSame("listening\n", $program->line());
        $this->echoedOver(Channel::connect("{$folder->path}/take"), $program);
        $this->assertFileDoesNotExist("{$folder->path}/take");
    }

    public function testManyConnectionsGoOverOneChannelAndNoDescriptorIsLeft(): void
    {
        [$one, $other] = Channel::pair();
        $program = new Program(
            '$channel = Prise\Channel::inherited(0);
            while ($received = $channel->receive(5)) {
                $channel->send($received);
            }
            echo count(scandir("/proc/self/fd"));',
            [],
            [0 => $other->stream()],
        );
        $other->close();
        $talk = new Talk();
        $before = count(scandir('/proc/self/fd'));
        for ($i = 0; $i < 500; $i++) {
            $one->send($talk->near);
            $talk->near = $one->receive(5)->stream;
        }
        $this->assertCount($before, scandir('/proc/self/fd'));
        $one->close();
        $this->assertLessThan(20, (int) $program->output());
    }

    public function testNobodyThereIsSaid(): void
    {
        $this->expectException(HandoverException::class);
        $this->expectExceptionMessage('nobody takes connections at /nonexistent/take: No such file or directory');
        Channel::connect('/nonexistent/take');
    }

    public function testADescriptorThatIsNotThereIsSaid(): void
    {
        $this->expectException(HandoverException::class);
        $this->expectExceptionMessage('descriptor 987');
        Channel::inherited(987);
    }

    public function testOnlyAUnixStreamSocketIsAChannel(): void
    {
        foreach ([(new Talk())->near, stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_DGRAM, 0)[0]] as $stream) {
            try {
                Channel::fromStream($stream);
                $this->fail('no channel');
            } catch (HandoverException $error) {
                $this->assertStringContainsString('Unix stream socket', $error->getMessage());
            }
        }
        $this->expectExceptionMessage('no socket');
        Channel::fromStream(fopen('php://memory', 'r'));
    }

    public function testAStreamThatWasReadFromIsNoChannelAnyMore(): void
    {
        [$ours, $theirs] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        fwrite($theirs, "hello\nand more");
        fgets($ours);
        $this->expectExceptionMessage('read from this stream already');
        Channel::fromStream($ours);
    }

    public function testANonBlockingStreamIsAsGoodAChannel(): void
    {
        [$ours, $theirs] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        stream_set_blocking($ours, false);
        stream_set_blocking($theirs, false);
        $channel = Channel::fromStream($ours);
        $program = new Program(
            'usleep(20000);
            Prise\Channel::inherited(0)->send(stream_socket_server("tcp://127.0.0.1:0"));',
            [],
            [0 => $theirs],
        );
        $this->assertSame('listener', $channel->receive(5)->kind);
        $this->assertSame('', $program->output());
    }
}
