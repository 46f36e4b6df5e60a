<?php

declare(strict_types=1);

namespace Prise;

use Prise\Exception\HandoverException;
use Prise\Exception\TimedOut;

/**
 * A connection that changed hands. PHP cannot put bytes back into a stream, so read with `read` and `readLine`: they serve
 * first what the other process had read already, and then what comes.
 */
final class Received
{
    /** @var resource blocking, and not inherited by programs that are started; for stream_select() and the like */
    public readonly mixed $stream;

    /** What the sender said: as after json_decode(), objects as arrays. Data, not truth: never unserialize() any of it. */
    public readonly mixed $state;

    /** "stream", "listener" or "datagram", as the kernel knows it. */
    public readonly string $kind;

    /** What of `$pending` has not been read yet. */
    private string $rest;

    /**
     * @internal made by Channel
     * @param array<string, mixed> $header all that the sender said; its addresses are for people to read
     * @param string $pending what the sender had read from the peer
     * @param array{pid: int, uid: int, gid: int}|null $credentials of the sender, over a channel from a Listener
     */
    public function __construct(
        \Socket $socket,
        public readonly array $header,
        public readonly string $pending,
        public readonly ?array $credentials,
    ) {
        $this->kind = Parcel::kindOf($socket);
        $this->stream = socket_export_stream($socket);
        stream_set_blocking($this->stream, true); // copies share that mode, so it may be anything
        $this->state = $header['state'] ?? null;
        $this->rest = $pending;
    }

    /**
     * At most so many bytes, as they come; '' at the end of input.
     *
     * @param float|null $timeout seconds; null: the stream's own (default_socket_timeout, 60 s, unless you set another)
     * @throws TimedOut nothing has come
     */
    public function read(int $length = 8192, ?float $timeout = null): string
    {
        if ($this->rest !== '') {
            $data = substr($this->rest, 0, $length);
            $this->rest = substr($this->rest, strlen($data));
            return $data;
        }
        $this->patience($timeout);
        [$data] = Warnings::caught(fn() => fread($this->stream, $length));
        $this->mustBeInTime($data);
        return (string) $data;
    }

    /**
     * A line with its "\n", or what is left at the end of input without one, or the first `$most` bytes of a line that is
     * longer; null at the end.
     *
     * @param float|null $timeout seconds for each piece that comes; null: as in `read`
     * @throws TimedOut no whole line has come; what did come will be part of the next one
     */
    public function readLine(int $most = 65536, ?float $timeout = null): ?string
    {
        while (true) {
            $end = strpos($this->rest, "\n");
            $length = $end === false ? strlen($this->rest) : $end + 1;
            if ($end !== false || $length >= $most) {
                return $this->read(min($length, $most));
            }
            $this->patience($timeout);
            [$data] = Warnings::caught(fn() => fgets($this->stream, $most - $length + 1));
            if (is_string($data) && $data !== '') {
                $this->rest .= $data;
            } elseif (feof($this->stream) && !stream_get_meta_data($this->stream)['timed_out']) {
                return $this->rest === '' ? null : $this->read($length);
            } else {
                $this->mustBeInTime($data);
            }
        }
    }

    /**
     * Writes all of it.
     *
     * @throws HandoverException the peer is gone
     */
    public function write(string $data): void
    {
        while ($data !== '') {
            [$written, $said] = Warnings::caught(fn() => fwrite($this->stream, $data));
            if ($written === false || $written === 0) {
                throw new HandoverException("the peer is gone: $said");
            }
            $data = substr($data, $written);
        }
    }

    /** Whether everything was read, and the peer has ended. */
    public function atEnd(): bool
    {
        return $this->rest === '' && feof($this->stream);
    }

    /** Tells the peer that nothing more will be written; it can still be read (half-close). */
    public function endWriting(): void
    {
        Warnings::caught(fn() => stream_socket_shutdown($this->stream, STREAM_SHUT_WR));
    }

    /** What was read by the sender and not by us. */
    public function remaining(): string
    {
        return $this->rest;
    }

    /**
     * The bare stream, for code that knows PHP's functions only.
     *
     * @return resource
     * @throws HandoverException when pending bytes wait, which it would miss: `read($n)` or `readLine()` them first
     */
    public function bare(): mixed
    {
        if ($this->rest !== '') {
            $size = strlen($this->rest);
            throw new HandoverException("$size bytes were read from this connection already: read() them first");
        }
        return $this->stream;
    }

    public function close(): void
    {
        if (is_resource($this->stream)) {
            fclose($this->stream);
        }
    }

    /**
     * For Parcel: these bytes are in other hands, or in our own again.
     *
     * @internal
     */
    public function hold(string $pending): void
    {
        $this->rest = $pending;
    }

    private function patience(?float $timeout): void
    {
        if ($timeout !== null) {
            stream_set_timeout($this->stream, (int) $timeout, (int) (fmod($timeout, 1.0) * 1e6));
        }
    }

    /** @throws TimedOut */
    private function mustBeInTime(string|false $data): void
    {
        if (($data === false || $data === '') && stream_get_meta_data($this->stream)['timed_out']) {
            throw new TimedOut('the peer has said nothing in time');
        }
    }
}
