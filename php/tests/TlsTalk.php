<?php

declare(strict_types=1);

namespace Prise\Tests;

/**
 * A connection with TLS, made within this process: both sides shake hands in turns.
 */
final class TlsTalk
{
    /** @return resource the client's side; the server's lives as long */
    public static function near(): mixed
    {
        static $kept = [];
        $key = openssl_pkey_new(['private_key_type' => OPENSSL_KEYTYPE_EC, 'curve_name' => 'prime256v1']);
        $request = openssl_csr_new(['commonName' => 'localhost'], $key);
        openssl_x509_export(openssl_csr_sign($request, null, $key, 1), $certificate);
        openssl_pkey_export($key, $secret);
        $file = tempnam(sys_get_temp_dir(), 'prise');
        file_put_contents($file, $certificate . $secret);

        $talk = new Talk();
        stream_context_set_option($talk->far, 'ssl', 'local_cert', $file);
        stream_context_set_option($talk->near, ['ssl' => ['verify_peer' => false, 'verify_peer_name' => false]]);
        stream_set_blocking($talk->far, false);
        stream_set_blocking($talk->near, false);
        $done = [false, false];
        $until = hrtime(true) + 5e9;
        while (in_array(false, $done, true) && hrtime(true) < $until) {
            $done[0] = $done[0] ?: (bool) stream_socket_enable_crypto($talk->far, true, STREAM_CRYPTO_METHOD_TLS_SERVER);
            $done[1] = $done[1] ?: (bool) stream_socket_enable_crypto($talk->near, true, STREAM_CRYPTO_METHOD_TLS_CLIENT);
        }
        unlink($file);
        $kept[] = $talk;
        return $talk->near;
    }
}
