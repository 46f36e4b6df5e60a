<?php

/**
 * Ce que start_php_prise.py lance : la conversation est sur STDIN, l'écran sur STDERR.
 *
 * Lancer :   php started.php       (le terminal est alors l'autre)
 */

declare(strict_types=1);

fwrite(STDIN, 'bonjour de PHP, à ' . getenv('TCPREMOTEIP') . "\n");
while (($line = fgets(STDIN)) !== false) {
    fwrite(STDERR, "PHP : $line");
}
fclose(STDIN);
