<?php

declare(strict_types=1);

namespace Prise\Exception;

/**
 * What arrived on the channel is no handover. Everything that came with it was closed, and the other side was told where
 * that was possible.
 */
final class ProtocolError extends HandoverException
{
}
