<?php

declare(strict_types=1);

require __DIR__ . '/../autoload.php';
require __DIR__ . '/Talk.php';
require __DIR__ . '/RawPeer.php';
require __DIR__ . '/Program.php';
require __DIR__ . '/TlsTalk.php';
require __DIR__ . '/Folder.php';
require __DIR__ . '/PyCore.php';
