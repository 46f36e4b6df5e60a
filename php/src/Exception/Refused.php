<?php

declare(strict_types=1);

namespace Prise\Exception;

/**
 * It was not taken, or cannot be given at all, and the message says why. The connection is still ours.
 */
final class Refused extends HandoverException
{
}
