<?php

/**
 * Un livre d'or, servi par plusieurs processus PHP :
 *
 *     prise serve php:examples/php_guestbook/guestbook.php --on :50000 --workers 4
 *     nc localhost 50000
 *
 * La fonction rendue est appelée pour chaque connexion. Le livre est un fichier, livre-d-or.txt dans le dossier où l'on est
 * (ou celui que nomme la variable GUESTBOOK) ; un verrou empêche deux processus d'y écrire en même temps.
 */

declare(strict_types=1);

const DERNIERS = 10;    // messages que l'on montre
const LONGUEUR = 500;   // octets d'une ligne
const PATIENCE = 120.0; // secondes pour écrire une ligne

return static function (Prise\Received $visiteur): void {
    $livre = getenv('GUESTBOOK') ?: 'livre-d-or.txt';

    // La ligne suivante, propre : de l'UTF-8 sans caractères de commande. null : le visiteur est parti, ou ne dit plus rien.
    $demander = static function (string $question) use ($visiteur): ?string {
        $visiteur->write($question . "\n");
        try {
            $ligne = $visiteur->readLine(LONGUEUR, PATIENCE);
        } catch (Prise\Exception\TimedOut) {
            $visiteur->write("Vous êtes bien silencieux. À une autre fois !\n");
            return null;
        }
        return $ligne === null ? null : trim((string) preg_replace('/\p{C}+/u', ' ', $ligne));
    };

    $visiteur->write("Bienvenue ! Le livre d'or dit :\n");
    foreach (array_slice(is_file($livre) ? file($livre) : [], -DERNIERS) as $message) {
        $visiteur->write('  ' . $message);
    }
    $nom = $demander('Votre nom ?');
    $mot = $nom === null || $nom === '' ? null : $demander("Votre mot, $nom ?");
    if ($mot === null || $mot === '') {
        return;
    }
    file_put_contents($livre, date('Y-m-d') . " $nom : $mot\n", FILE_APPEND | LOCK_EX);
    $visiteur->write("Merci, $nom !\n");
    echo "$nom a signé\n"; // pour le journal du serveur
};
