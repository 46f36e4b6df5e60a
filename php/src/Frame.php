<?php

declare(strict_types=1);

namespace Prise;

use Prise\Exception\ProtocolError;
use Prise\Exception\Refused;

/**
 * What goes over a channel ("prise-handover 1"), without any I/O:
 *
 *     length of the header   4 bytes, big-endian; the descriptor rides on these very bytes (SCM_RIGHTS, unix(7))
 *     header                 JSON, UTF-8
 *     pending                as many raw bytes as the header's "pending" says
 *
 * The Python side of it is src/prise/handover/frame.py.
 *
 * @internal
 */
final class Frame
{
    public const VERSION = 1;

    /** Bytes of the length that begins a frame. */
    public const LENGTH = 4;

    /** Bytes of a header, with the state in it. */
    public const MOST_HEADER = 1024 * 1024;

    /** Bytes behind a header. */
    public const MOST_PENDING = 64 * 1024 * 1024;

    /** Descriptors for which there is room; more are an attack or a mistake. */
    public const MOST_DESCRIPTORS = 16;

    /**
     * The length and the header.
     *
     * @param array<string, mixed> $fields
     * @throws Refused for what JSON cannot say (text that is not UTF-8, NAN, a resource), or too much of it
     */
    public static function encode(string $type, array $fields): string
    {
        try {
            $header = json_encode(
                ['v' => self::VERSION, 'type' => $type] + $fields,
                JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION,
            );
        } catch (\JsonException $error) {
            throw new Refused(
                "the state must be what JSON can say (bytes that are no UTF-8: base64_encode them): {$error->getMessage()}",
                previous: $error,
            );
        }
        if (strlen($header) > self::MOST_HEADER) {
            throw new Refused(
                sprintf('a state of %d bytes is too large, at most %d', strlen($header), self::MOST_HEADER),
            );
        }
        return pack('N', strlen($header)) . $header;
    }

    /**
     * From the first 4 bytes.
     *
     * @throws ProtocolError
     */
    public static function headerSize(string $length): int
    {
        $size = unpack('N', $length)[1];
        if ($size < 2 || $size > self::MOST_HEADER) {
            $first = bin2hex($length);
            throw new ProtocolError("this is not a handover: it begins with 0x$first, no sensible length of a header");
        }
        return $size;
    }

    /**
     * A header. Objects become arrays; integers beyond 64 bits become strings, so that no digit is lost.
     *
     * @return array<string, mixed> with "v", "type" and a sensible "pending"
     * @throws ProtocolError
     */
    public static function decode(string $json): array
    {
        try {
            $header = json_decode($json, true, 512, JSON_THROW_ON_ERROR | JSON_BIGINT_AS_STRING);
        } catch (\JsonException) {
            throw new ProtocolError('the header of a handover is not JSON');
        }
        if (!is_array($header) || !is_string($header['type'] ?? null)) {
            throw new ProtocolError('the header of a handover must be an object with a type');
        }
        if (($header['v'] ?? null) !== self::VERSION) {
            $theirs = substr((string) json_encode($header['v'] ?? null), 0, 40);
            $ours = self::VERSION;
            throw new ProtocolError("the other side speaks version $theirs of the handover, this one $ours");
        }
        $header['pending'] ??= 0;
        if (!is_int($header['pending']) || $header['pending'] < 0 || $header['pending'] > self::MOST_PENDING) {
            throw new ProtocolError('a header promises an impossible number of pending bytes');
        }
        return $header;
    }
}
