<?php

declare(strict_types=1);

namespace Prise\Tests;

use PHPUnit\Framework\TestCase;
use Prise\Channel;
use Prise\Exception\HandoverException;
use Prise\Exception\ProtocolError;
use Prise\Exception\TimedOut;
use Prise\Listener;

/**
 * Who may connect: permissions first, then the kernel's word.
 */
final class ListenerTest extends TestCase
{
    private const NOBODY = 65534;

    private Folder $folder;

    private string $path;

    protected function setUp(): void
    {
        $this->folder = Folder::make();
        $this->path = $this->folder->path . '/take';
    }

    public function testTheSocketIsOursAloneAndIsRemovedAtTheEnd(): void
    {
        $umask = umask(0);
        $listener = new Listener($this->path);
        umask($umask);
        $this->assertSame(0600, fileperms($this->path) & 0777);
        $listener->close();
        $listener->close();
        clearstatcache();
        $this->assertFileDoesNotExist($this->path);
    }

    public function testAMissingFolderIsMadeForUsAlone(): void
    {
        $listener = new Listener($this->folder->path . '/new/take');
        $this->assertSame(0700, fileperms($this->folder->path . '/new') & 0777);
        $listener->close();
        rmdir($this->folder->path . '/new');
    }

    public function testAFolderInWhichAnybodyMayWriteIsRefused(): void
    {
        chmod($this->folder->path, 0777);
        $this->expectException(HandoverException::class);
        $this->expectExceptionMessage('chmod 700');
        new Listener($this->path);
    }

    public function testASocketWhereNobodyListensIsReplacedAndOneWhereSomebodyDoesIsNot(): void
    {
        fclose(stream_socket_server("unix://{$this->path}"));
        $this->assertFileExists($this->path);
        $listener = new Listener($this->path);
        try {
            new Listener($this->path);
            $this->fail('it was taken away');
        } catch (HandoverException $error) {
            $this->assertStringContainsString('somebody listens', $error->getMessage());
        }
        $this->assertNotNull(Channel::connect($this->path));
        $listener->close();
    }

    public function testAFileThatIsNoSocketIsLeftAlone(): void
    {
        file_put_contents($this->path, 'precious');
        try {
            new Listener($this->path);
            $this->fail('replaced');
        } catch (HandoverException) {
            $this->assertSame('precious', file_get_contents($this->path));
        }
    }

    public function testNobodyWithinTheTime(): void
    {
        $listener = new Listener($this->path);
        $this->expectException(TimedOut::class);
        $listener->accept(0.01);
    }

    public function testTheKernelSaysWhoSentAConnection(): void
    {
        $listener = new Listener($this->path);
        $program = new Program(
            'Prise\Channel::connect($argv[1])->send(stream_socket_server("tcp://127.0.0.1:0")); echo getmypid();',
            [$this->path],
        );
        $who = $listener->accept(5)->receive(5)->credentials;
        $this->assertSame(
            ['pid' => (int) $program->output(), 'uid' => posix_geteuid(), 'gid' => posix_getegid()],
            ['pid' => $who['pid'], 'uid' => $who['uid'], 'gid' => $who['gid']],
        );
    }

    public function testAnotherUserIsNotLetIn(): void
    {
        $listener = new Listener($this->path, [self::NOBODY + 1]);
        $channel = Channel::connect($this->path);
        try {
            $listener->accept(0.05);
            $this->fail('let in');
        } catch (TimedOut) {
        }
        $this->assertNull($channel->receive(5), 'the door was closed');
    }

    public function testWhatAnAllowedProcessPassesOnToAnotherUserIsRefusedFrameByFrame(): void
    {
        if (posix_geteuid() !== 0) {
            $this->markTestSkipped('only root can become another user');
        }
        $listener = new Listener($this->path);
        $channel = Channel::connect($this->path);
        $program = new Program(
            'posix_setgid((int) $argv[1]); posix_setuid((int) $argv[1]);
            try {
                Prise\Channel::inherited(0)->send(stream_socket_server("tcp://127.0.0.1:0"));
            } catch (Prise\Exception\Refused $error) {
                echo $error->getMessage();
            }',
            [(string) self::NOBODY],
            [0 => $channel->stream()],
        );
        $accepted = $listener->accept(5);
        try {
            $accepted->receive(5);
            $this->fail('taken');
        } catch (ProtocolError $error) {
            $this->assertStringContainsString('65534 may not', $error->getMessage());
        }
        $this->assertFalse($accepted->isOpen());
        $this->assertStringContainsString('65534 may not', $program->output());
    }

    public function testAnotherUserWhoIsOnTheListIsLetIn(): void
    {
        if (posix_geteuid() !== 0) {
            $this->markTestSkipped('only root can become another user');
        }
        chmod($this->folder->path, 0711);
        $listener = new Listener($this->path, [self::NOBODY], 0666);
        $program = new Program(
            'posix_setgid((int) $argv[2]); posix_setuid((int) $argv[2]);
            Prise\Channel::connect($argv[1])->send(stream_socket_server("tcp://127.0.0.1:0"));',
            [$this->path, (string) self::NOBODY],
        );
        $this->assertSame(self::NOBODY, $listener->accept(5)->receive(5)->credentials['uid']);
        $this->assertSame('', $program->output());
    }
}
