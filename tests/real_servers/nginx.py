"""nginx: HTTP/1.1, and HTTP/2 beside it over TLS.

`/` is `root`, with gzip and ranges. `/dav/` takes PUT, DELETE, MKCOL, COPY, MOVE. `/auth/` is `root` for those who have the
password. `/slow/` is `root` at 20 KiB a second. `/list/` and `/list-json/` are `root` with its folders shown. `/echo` says what
was asked, one thing a line. `/cookie` sets one. `/redirect` leads to `/hello.txt`, `/loop` to itself, `/elsewhere` to another
port. `/unavailable`, `/forbidden` and `/limited` answer 503, 403 and 429.
"""

from __future__ import annotations

from pathlib import Path

from real_servers.base import PASSWORD_HASH, RealServer

CONFIGURATION = """
daemon off; master_process off; pid @folder@/pid; error_log stderr;
events { worker_connections 1024; }
http {
    access_log off; default_type application/octet-stream;
    types { text/plain txt; text/html html; application/json json; }
    client_body_temp_path @folder@/temp; proxy_temp_path @folder@/temp; fastcgi_temp_path @folder@/temp;
    uwsgi_temp_path @folder@/temp; scgi_temp_path @folder@/temp;
    client_max_body_size 0;
    gzip on; gzip_min_length 1; gzip_types *; gzip_http_version 1.0;
    server {
        listen @host@:@port@; listen @host@:@tls_port@ ssl http2; listen unix:@folder@/http.sock;
        ssl_certificate @cert@; ssl_certificate_key @key@;
        root @folder@/root;
        location /echo {
            default_type text/plain;
            return 200 "$request_method\\n$request_uri\\n$http_user_agent\\n$http_cookie\\n$content_type\\n$server_protocol\\n";
        }
        location /auth/ { auth_basic "prise"; auth_basic_user_file @folder@/passwords; alias @folder@/root/; }
        location /slow/ { limit_rate 20k; gzip off; alias @folder@/root/; }
        location /dav/ { dav_methods PUT DELETE MKCOL COPY MOVE; create_full_put_path on; }
        location /list/ { autoindex on; alias @folder@/root/; }
        location /list-json/ { autoindex on; autoindex_format json; alias @folder@/root/; }
        location /cookie { add_header Set-Cookie "taste=sweet; Path=/"; return 204; }
        location /redirect { return 302 /hello.txt; }
        location /moved { return 301 /hello.txt; }
        location /loop { return 302 /loop; }
        location /elsewhere { return 302 http://127.0.0.1:1/; }
        location /forbidden { return 403; }
        location /limited { add_header Retry-After 1 always; return 429; }
        location /unavailable { return 503; }
    }
}
"""


class Nginx(RealServer):
    programs = ("nginx",)
    scheme = "http"

    def configure(self) -> None:
        self.port, self.tls_port = self.free_port(), self.free_port()
        self.make("temp", "root/dav")
        self.place("hello.txt", b"hello nginx\n")
        self.write("passwords", f"{self.user}:{PASSWORD_HASH}\n", 0o600)
        self.configuration("nginx.conf", CONFIGURATION, host=self.host)

    def launch(self) -> None:
        self.run(["nginx", "-e", "stderr", "-c", f"{self.folder}/nginx.conf"], self.port, self.tls_port)

    @property
    def unix(self) -> Path:
        """The same, on a Unix socket."""
        return self.folder / "http.sock"
