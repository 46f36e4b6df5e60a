<?php

declare(strict_types=1);

namespace Prise\Exception;

/**
 * The other process did not say in time whether it has taken the connection. The channel is closed, and our copy (unless it
 * was to be kept): the connection lives on over there or nowhere, never on both sides by accident.
 */
final class Uncertain extends HandoverException
{
}
