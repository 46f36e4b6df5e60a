<?php

declare(strict_types=1);

namespace Prise\Exception;

/**
 * Nothing came, or could be sent, in time. Nothing is lost: a connection that was to be sent is still ours.
 */
final class TimedOut extends HandoverException
{
}
