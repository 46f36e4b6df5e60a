<?php

declare(strict_types=1);

namespace Prise;

use Prise\Exception\HandoverException;
use Prise\Exception\ProtocolError;
use Prise\Exception\Refused;
use Prise\Exception\TimedOut;
use Prise\Exception\Uncertain;

/**
 * A Unix socket between two processes, PHP or Python, over which connections change hands.
 *
 *     $channel = Channel::connect('/run/app/take');
 *     $channel->send($stream, ['name' => 'ada']);      // closes our copy when the other process has it
 *     $received = $channel->receive();                 // null when the other process has closed the channel
 *
 * The receiver acknowledges before it returns; the sender keeps its copy until then. So the connection is alive on one side
 * at the most (with `keep: true` on both), and every failure has a name: see Prise\Exception.
 */
final class Channel
{
    /** Seconds that the other process has for its part, by default. */
    public const TIMEOUT = 5.0;

    private const SO_DOMAIN = 39;

    private Wire $wire;

    private bool $open = true;

    /**
     * @param list<int>|null $uids whose frames are taken, by the credentials that the kernel adds to them; null: everybody's
     */
    private function __construct(\Socket $socket, private readonly ?array $uids = null)
    {
        // 39 is what Linux calls it; where it is called otherwise the option fails, and that is no answer.
        [$family] = Warnings::caught(static fn() => socket_get_option($socket, SOL_SOCKET, self::SO_DOMAIN));
        if (
            (is_int($family) && $family !== AF_UNIX)
            || socket_get_option($socket, SOL_SOCKET, SO_TYPE) !== SOCK_STREAM
        ) {
            throw new HandoverException('connections change hands over a Unix stream socket, and this is another one');
        }
        $this->wire = new Wire($socket);
    }

    /**
     * Connects to the listener at this path: Prise\Listener, or Python's prise.handover.Listener.
     *
     * @param float|null $timeout seconds; null waits for ever
     * @throws HandoverException when nobody is there, or we may not
     */
    public static function connect(string $path, ?float $timeout = self::TIMEOUT): self
    {
        $uri = 'unix://' . $path;
        $code = 0;
        $cause = '';
        [$stream] = Warnings::caught(static function () use ($uri, $timeout, &$code, &$cause): mixed {
            return stream_socket_client($uri, $code, $cause, $timeout);
        });
        if ($stream === false) {
            throw new HandoverException("nobody takes connections at $path: $cause");
        }
        return new self(CloseOnExec::of(socket_import_stream($stream)));
    }

    /**
     * The channel that this program was started with.
     *
     * Descriptor 0 is the better one to be given: PHP can really close it. Any other number stays open until the program
     * ends, as PHP has no close() for it. Needs the command line (php-cli); elsewhere PHP refuses php://fd.
     *
     * @throws HandoverException
     */
    public static function inherited(int $fd = 3): self
    {
        if ($fd === 0 && defined('STDIN')) {
            return self::fromStream(STDIN);
        }
        [$stream, $said] = Warnings::caught(static fn() => fopen("php://fd/$fd", 'r+'));
        if ($stream === false) {
            throw new HandoverException("descriptor $fd cannot be used here: $said");
        }
        return self::fromStream($stream);
    }

    /**
     * Over a Unix stream socket that is connected already; it is the channel's from now on.
     *
     * @param resource $stream
     * @throws HandoverException
     */
    public static function fromStream($stream): self
    {
        if (stream_get_meta_data($stream)['unread_bytes'] > 0) {
            throw new HandoverException('something was read from this stream already: that part of a frame would be lost');
        }
        [$socket, $said] = Warnings::caught(static fn() => socket_import_stream($stream));
        if ($socket === false) {
            throw new HandoverException("this stream is no socket: $said");
        }
        return new self($socket);
    }

    /**
     * For Listener: who may send is checked for every frame.
     *
     * @internal
     * @param list<int> $uids
     */
    public static function accepted(\Socket $socket, array $uids): self
    {
        return new self(CloseOnExec::of($socket), $uids);
    }

    /**
     * Two channels that are connected; `stream()` of one goes to a child by proc_open().
     *
     * @return array{self, self}
     */
    public static function pair(): array
    {
        $ends = [];
        socket_create_pair(AF_UNIX, SOCK_STREAM, 0, $ends) ?: throw new HandoverException(
            'no pair of sockets: ' . socket_strerror(socket_last_error()),
        );
        return [new self(CloseOnExec::of($ends[0])), new self(CloseOnExec::of($ends[1]))];
    }

    /**
     * Gives a connection (or a listening or datagram socket) away, with what PHP had read from it already.
     *
     * Returns when the other process has it. The socket is made blocking: copies share that mode.
     *
     * @param resource|\Socket|Received $stream
     * @param mixed $state anything that JSON can say, at most 1 MiB
     * @param bool $keep our copy stays open too, and the peer sees its end when both are closed; read-ahead still moves
     * @param float|null $timeout seconds; null waits for ever
     * @throws Refused it is still ours; `$pending` of the exception holds what was taken from the stream's buffer
     * @throws TimedOut likewise: the frame could not be sent, and the channel is closed
     * @throws Uncertain no answer came in time: our copy is closed (unless kept), and so is the channel
     * @throws HandoverException likewise still ours; the channel is broken
     */
    public function send($stream, mixed $state = null, bool $keep = false, ?float $timeout = self::TIMEOUT): void
    {
        $this->mustBeOpen();
        $parcel = new Parcel($stream);
        $header = Frame::encode('handover', $parcel->header() + ['state' => $state]); // before anything is taken from it
        $pending = $parcel->pending();
        $until = Deadline::in($timeout);
        try {
            stream_set_blocking($parcel->stream, true);
            $this->transmit($header . $pending, $parcel->stream, $until);
            $this->answer($until);
        } catch (Uncertain $error) {
            $this->close();
            $parcel->letGo($keep);
            throw $error;
        } catch (HandoverException $error) {
            $kind = $error::class;
            throw new $kind($error->getMessage(), $parcel->takeBack(), $error);
        }
        $parcel->letGo($keep);
    }

    /**
     * The next connection that is given to us, acknowledged already; null when the other side has closed the channel.
     *
     * @param float|null $timeout seconds to wait for it to begin (the rest has to come within 5); null waits for ever
     * @throws TimedOut nothing has come, try again
     * @throws ProtocolError nothing came of it: go on, unless the channel is closed (`isOpen()`)
     * @throws HandoverException the channel is broken
     */
    public function receive(?float $timeout = null): ?Received
    {
        $this->mustBeOpen();
        $descriptors = [];
        $inStep = false; // whether the next bytes are the beginning of a frame
        try {
            $length = $this->wire->begin(Deadline::in($timeout), self::TIMEOUT, $descriptors, $credentials);
            if ($length === '') {
                return null;
            }
            $this->mustBeAllowed($credentials);
            $until = Deadline::in(self::TIMEOUT);
            $header = Frame::decode($this->rest(Frame::headerSize($length), $until));
            $pending = $this->rest($header['pending'], $until);
            $inStep = true;
            if ($header['type'] !== 'handover') {
                throw new ProtocolError('a handover was due, and something else came');
            }
            $received = new Received(Descriptors::theOnlySocket($descriptors), $header, $pending, $credentials);
        } catch (ProtocolError $error) {
            Descriptors::closeAll($descriptors);
            $this->refuse($error->getMessage());
            $inStep || $this->close();
            throw $error;
        } catch (TimedOut $error) {
            throw $error; // nothing has begun
        } catch (HandoverException $error) {
            Descriptors::closeAll($descriptors);
            $this->close();
            throw $error;
        }
        try {
            $this->transmit(Frame::encode('ack', ['ok' => true]), null, Deadline::in(self::TIMEOUT));
        } catch (HandoverException $error) {
            $received->close(); // the sender does not know that it arrived: it must not live on here
            throw $error;
        }
        return $received;
    }

    /**
     * The socket as a stream: for proc_open(), which gives it to a child, and for stream_select().
     *
     * @return resource
     */
    public function stream(): mixed
    {
        $this->mustBeOpen();
        return socket_export_stream($this->wire->socket);
    }

    public function isOpen(): bool
    {
        return $this->open;
    }

    /** The other side sees the end. Closing twice is harmless. */
    public function close(): void
    {
        if ($this->open) {
            $this->open = false;
            $this->wire->close();
        }
    }

    private function mustBeOpen(): void
    {
        $this->open ?: throw new HandoverException('the channel is closed');
    }

    /**
     * @param resource|null $stream
     * @throws HandoverException and then the channel is closed: perhaps it is in the middle of a frame
     */
    private function transmit(string $bytes, $stream, Deadline $until): void
    {
        try {
            $this->wire->send($bytes, $stream, $until);
        } catch (HandoverException $error) {
            $this->close();
            throw $error;
        }
    }

    /**
     * Waits for the acknowledgement. Who took it says so before anything else: a closed channel means that nobody did.
     *
     * @throws Refused
     * @throws Uncertain
     */
    private function answer(Deadline $until): void
    {
        try {
            $length = $this->wire->receive(Frame::LENGTH, $until);
            $answer = $length === '' ? null : Frame::decode($this->rest(Frame::headerSize($length), $until));
            if ($answer !== null && $answer['type'] !== 'ack') {
                throw new ProtocolError('an acknowledgement was due, and something else came');
            }
        } catch (HandoverException $error) {
            throw new Uncertain(
                "the other process has not said whether it took the connection ({$error->getMessage()})",
                previous: $error,
            );
        }
        if ($answer === null) {
            $this->close();
            throw new Refused('the other process closed the channel without taking the connection');
        }
        if (($answer['ok'] ?? null) !== true) {
            $reason = is_string($answer['error'] ?? null) ? substr($answer['error'], 0, 500) : '-';
            throw new Refused("the other process did not take the connection: $reason");
        }
    }

    /** Says no, where that can still be heard. */
    private function refuse(string $reason): void
    {
        try {
            $this->transmit(Frame::encode('ack', ['ok' => false, 'error' => $reason]), null, Deadline::in(self::TIMEOUT));
        } catch (HandoverException) {
            // nobody is there any more
        }
    }

    /**
     * So many bytes of a frame that has begun.
     *
     * @throws ProtocolError
     */
    private function rest(int $size, Deadline $until): string
    {
        try {
            $data = $this->wire->receive($size, $until);
        } catch (TimedOut) {
            throw new ProtocolError('the other process stopped in the middle of a handover');
        }
        if (strlen($data) < $size) {
            throw new ProtocolError('the channel ended in the middle of a handover');
        }
        return $data;
    }

    /** @param array{pid: int, uid: int, gid: int}|null $credentials */
    private function mustBeAllowed(?array $credentials): void
    {
        if ($this->uids !== null && !in_array($credentials['uid'] ?? null, $this->uids, true)) {
            $who = $credentials['uid'] ?? 'unknown';
            throw new ProtocolError("the user with the number $who may not hand over connections here");
        }
    }
}
