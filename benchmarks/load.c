/* The load generator: many clients of a line server, in one busy epoll loop.
 *
 *     load echo      PORT CONNECTIONS SIZE DEPTH SECONDS   each line comes back to the connection that sent it
 *     load fanout    PORT CONNECTIONS SIZE DEPTH SECONDS   the last connection sends, each line comes to all of them
 *     load websocket PORT CONNECTIONS SIZE DEPTH SECONDS   an echo of text messages (RFC 6455), without a newline
 *     load udp       PORT CONNECTIONS SIZE DEPTH SECONDS   an echo of datagrams, each from a socket of its own
 *     load tls       PORT CONNECTIONS SIZE DEPTH SECONDS   an echo of lines over TLS; only when compiled with -DTLS
 *
 * With one more argument, "sleep", it sleeps where it would look again and again: for when it shares CPUs with the server.
 *
 * DEPTH lines of SIZE bytes (newline included) are kept in flight, on each connection or by the one that sends, and
 * every byte that comes back is compared with what was sent: a stream is an endless repetition of one block of
 * different lines, entered at another line by each connection that sends, so that a lost, doubled, swapped or damaged
 * line is seen at its first wrong byte. Over WebSocket a line is a frame, masked where we send it; all frames of a run
 * are made beforehand. Datagrams that get lost are not sent again: the run fails, so few enough must be in flight for
 * the server's socket to hold.
 *
 * It prints "ready" once all connections have had a first line, starts at a line on its standard input, runs for
 * SECONDS (0: not at all, its connections are then idle), waits for the answers still owed, prints one JSON object
 * (messages: lines received), and keeps the connections open until its standard input ends, so that the cost of
 * closing them stays out of the figures.
 * A server that loses a line fails the run after PATIENCE seconds instead of hanging it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROGRAM "load"
#include "load_common.h"
#ifdef TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

enum { LINES = 64, MAX_CONNECTIONS = 20000, MAX_SIZE = 1 << 20, MAX_DEPTH = LINES, EVENTS = 256, BUFFER = 65536 };
enum { BLOCK = 4 << 20 };     /* bytes of different lines at the most: of long lines there are fewer */
enum { SLICE = 50 };          /* connections opened at once: fewer than any server's backlog */
enum { PER_SOURCE = 4096 };   /* connections from one address of 127.0.0.0/8: fewer than it has free ports */
static const double PATIENCE = 20.0, MAX_SECONDS = 120.0;
static const unsigned char MASK[4] = {0x37, 0xfa, 0x21, 0x3d}; /* one for all frames: servers unmask none for free */

/* The endless repetition that a stream is, in the form it has on the wire one way. */
struct block {
    char *bytes; /* `variety` different lines, then the same again, so that a comparison never wraps */
    uint64_t size, line; /* of all these lines, and of one */
};

struct client {
    int fd;
    int waits_to_write;
    uint64_t first;                /* which line of the block this connection's stream begins with */
    uint64_t goal, sent, received; /* bytes of it: to be sent (an answer to each is owed), sent, answered */
#ifdef TLS
    SSL *tls;
#endif
};

static enum { ECHO, FANOUT, WEBSOCKET, UDP, OVER_TLS } kind;
static const char *const KINDS[] = {"echo", "fanout", "websocket", "udp", "tls"};
static int fanout;
static uint64_t arrived[LINES]; /* fanout: how many connections have had the line at this place of the block */
static struct block sending, answer;
static uint64_t line_size, depth, variety = LINES;
static int nap; /* milliseconds to sleep until there are events: 0, or as long as PATIENCE */
static struct client *clients, *sender; /* the one that sends, in a fanout */
static int poller;

/* The frame header of a text message, RFC 6455 section 5.2. Returns its size. */
static int frame_header(unsigned char *at, uint64_t length, const unsigned char *mask) {
    int size = 2;
    at[0] = 0x81; /* the first and last frame of a text */
    at[1] = (mask ? 0x80 : 0) | (length < 126 ? length : 126);
    if (length >= 126) {
        at[size++] = length >> 8;
        at[size++] = length & 255;
    }
    if (mask) {
        memcpy(at + size, mask, 4);
        size += 4;
    }
    return size;
}

/* Makes the lines, as they are on the wire: as frames over WebSocket, with a mask if there is one. */
static void fill(struct block *block, const unsigned char *mask) {
    unsigned char header[8];
    int head = kind == WEBSOCKET ? frame_header(header, line_size, mask) : 0;
    block->line = head + line_size;
    block->size = variety * block->line;
    block->bytes = memory(2 * block->size);
    for (uint64_t line = 0; line < variety; line++) {
        char *at = block->bytes + line * block->line;
        memcpy(at, header, head);
        for (uint64_t column = 0; column < line_size; column++) { /* no two lines, or stretches of one, are alike */
            int byte = '0' + (line * 31 + column * 7 + column / 43 * (line + 1)) % 74;
            if (kind != WEBSOCKET && column == line_size - 1) byte = '\n';
            at[head + column] = byte ^ (mask ? mask[column % 4] : 0);
        }
    }
    memcpy(block->bytes + block->size, block->bytes, block->size);
}

/* As send(2), for each kind. */
static ssize_t put(struct client *c, const char *bytes, uint64_t size) {
#ifdef TLS
    if (c->tls) {
        int n = SSL_write(c->tls, bytes, size);
        if (n > 0) return n;
        if (SSL_get_error(c->tls, n) != SSL_ERROR_WANT_WRITE) fail("TLS write failed");
        errno = EAGAIN;
        return -1;
    }
#endif
    return send(c->fd, bytes, size, MSG_NOSIGNAL);
}

/* As recv(2), for each kind. */
static ssize_t take(struct client *c, char *bytes, uint64_t size) {
#ifdef TLS
    if (c->tls) {
        int n = SSL_read(c->tls, bytes, size);
        if (n > 0) return n;
        int error = SSL_get_error(c->tls, n);
        if (error == SSL_ERROR_ZERO_RETURN) return 0;
        if (error != SSL_ERROR_WANT_READ) fail("TLS read failed");
        errno = EAGAIN;
        return -1;
    }
#endif
    return recv(c->fd, bytes, size, 0);
}

/* Sends until the connection's goal, or until the kernel takes no more. */
static void send_to_goal(struct client *c) {
    while (c->sent < c->goal) {
        uint64_t at = (c->first * sending.line + c->sent) % sending.size, left = c->goal - c->sent;
        uint64_t most = kind == UDP ? sending.line : sending.size;
        ssize_t n = put(c, sending.bytes + at, left < most ? left : most);
        if (n < 0 && errno == EAGAIN) break;
        if (n <= 0) fail("send: %s", strerror(errno));
        c->sent += n;
    }
    int waits = c->sent < c->goal;
    if (waits == c->waits_to_write) return;
    c->waits_to_write = waits;
    struct epoll_event e = {.events = EPOLLIN | (waits ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e)) fail("epoll_ctl: %s", strerror(errno));
}

/* Reads what is there, at most a buffer full, and checks it. Returns its size. */
static uint64_t receive_some(struct client *c) {
    static char buffer[BUFFER];
    ssize_t n = take(c, buffer, sizeof buffer);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n < 0) fail("recv: %s", strerror(errno));
    if (n == 0) fail("the server closed a connection after %llu bytes", (unsigned long long)c->received);
    if (kind == UDP && (uint64_t)n != answer.line) fail("a datagram of %lld bytes came back", (long long)n);
    uint64_t end = c->received + n, asked = (fanout ? sender : c)->sent;
    if ((end + answer.line - 1) / answer.line > (asked + sending.line - 1) / sending.line)
        fail("the server answered more than it was sent");
    for (uint64_t left = n, part; left; left -= part) {
        part = left < answer.size ? left : answer.size;
        if (memcmp(buffer + n - left, answer.bytes + (c->first * answer.line + c->received) % answer.size, part))
            fail("wrong bytes in an answer, at byte %llu or soon after", (unsigned long long)c->received);
        c->received += part;
    }
    return n;
}

/* Returns the number of lines that are completed by what there is to read. */
static uint64_t receive(struct client *c) {
    uint64_t before = c->received / answer.line;
    if (kind == OVER_TLS || kind == UDP)
        while (receive_some(c)) {} /* a record or a datagram at a time; records may wait where epoll sees nothing */
    else
        receive_some(c);
    return c->received / answer.line - before;
}

/* How many lines are now answered by all who should: of the `lines` that `c` has just completed. */
static uint64_t settled(struct client *c, uint64_t lines, uint64_t connections) {
    if (!fanout) return lines;
    uint64_t all = 0;
    for (uint64_t line = c->received / answer.line - lines; lines; line++, lines--)
        if (++arrived[line % LINES] == connections) {
            arrived[line % LINES] = 0;
            all++;
        }
    return all;
}

/* Has `lines` lines sent to begin with by each of those connections that send and, until `end`, one more for each that
   is answered. Returns the lines received, once everything is answered. */
static uint64_t run(struct client *from, struct client *to, uint64_t lines, double end) {
    struct epoll_event events[EVENTS];
    uint64_t owed = 0, messages = 0;
    double last_answer = now();
    for (struct client *c = fanout ? sender : from; c < to; c++) {
        owed += lines;
        c->goal += lines * sending.line;
        send_to_goal(c);
    }
    while (owed) {
        int count = epoll_wait(poller, events, EVENTS, nap);
        if (count < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
        double time = now();
        for (int i = 0; i < count; i++) {
            struct client *c = events[i].data.ptr;
            uint64_t answers = receive(c), all = settled(c, answers, to - from);
            if (answers) last_answer = time;
            messages += answers;
            if (fanout) c = sender;
            if (time < end)
                c->goal += all * sending.line;
            else
                owed -= all;
            send_to_goal(c);
        }
        if (time - last_answer > PATIENCE) fail("%llu answers are missing", (unsigned long long)owed);
    }
    return messages;
}

/* Asks for WebSocket and reads the answer, so that what follows are frames. */
static void upgrade(struct client *c) {
    static const char REQUEST[] =
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    char said[4096];
    size_t size = 0;
    if (put(c, REQUEST, sizeof REQUEST - 1) < 0) fail("send: %s", strerror(errno));
    while (size < 4 || memcmp(said + size - 4, "\r\n\r\n", 4)) /* a byte at a time: nothing after it is for us */
        if (size == sizeof said || take(c, said + size++, 1) != 1) fail("no answer to the WebSocket handshake");
    if (memcmp(said, "HTTP/1.1 101 ", 13)) fail("the WebSocket handshake was refused: %.40s", said);
}

#ifdef TLS
static void encrypt(struct client *c) {
    static SSL_CTX *context; /* verifies nothing: the certificate is one of our own */
    if (!context) {
        context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_read_ahead(context, 1);
    }
    c->tls = SSL_new(context);
    if (!c->tls || !SSL_set_fd(c->tls, c->fd)) fail("out of memory");
    if (SSL_connect(c->tls) != 1) fail("TLS handshake: %s", ERR_error_string(ERR_get_error(), NULL));
}
#endif

static void open_connection(struct client *c, uint64_t number, int port) {
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + number / PER_SOURCE)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;
    c->fd = socket(AF_INET, (kind == UDP ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from)) fail("bind: %s", strerror(errno));
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to)) fail("connect: %s", strerror(errno));
    if (kind != UDP) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (kind == WEBSOCKET) upgrade(c);
#ifdef TLS
    if (kind == OVER_TLS) encrypt(c);
#endif
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK)) fail("fcntl: %s", strerror(errno));
    c->first = fanout ? 0 : number % variety;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e)) fail("epoll_ctl: %s", strerror(errno));
}

int main(int argc, char **argv) {
    if (argc < 7 || argc > 8 || (argc == 8 && strcmp(argv[7], "sleep")))
        fail("usage: load echo|fanout|websocket|udp|tls PORT CONNECTIONS SIZE DEPTH SECONDS [sleep]");
    if (argc == 8) nap = PATIENCE * 1000;
    while (strcmp(argv[1], KINDS[kind]))
        if (++kind == sizeof KINDS / sizeof *KINDS) fail("%s is no kind of load", argv[1]);
    fanout = kind == FANOUT;
#ifndef TLS
    if (kind == OVER_TLS) fail("compiled without TLS");
#endif
    int port = number(argv[2], 1, 65535);
    long connections = number(argv[3], 1, MAX_CONNECTIONS);
    line_size = number(argv[4], 2, MAX_SIZE);
    depth = number(argv[5], 1, MAX_DEPTH);
    if (line_size * variety > BLOCK) variety = BLOCK / line_size;
    double seconds = strtod(argv[6], NULL);
    if (!(seconds >= 0 && seconds <= MAX_SECONDS)) fail("SECONDS must be from 0 to %.0f", MAX_SECONDS);
    fill(&sending, kind == WEBSOCKET ? MASK : NULL);
    fill(&answer, NULL);
    clients = memory(connections * sizeof *clients);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0) fail("epoll_create1: %s", strerror(errno));
    sender = clients + connections - 1;

    uint64_t messages = 0;
    for (long i = 0; i < connections; i++) {
        open_connection(clients + i, i, port);
        int complete = (i + 1) % SLICE == 0 || i + 1 == connections;
        if (complete && !fanout) messages += run(clients + i - i % SLICE, clients + i + 1, 1, 0);
    }
    /* In a fanout the sender came last, so that everyone is there when its first line is read. */
    if (fanout) messages += run(clients, clients + connections, 1, 0);

    double taken = 0;
    puts("ready");
    fflush(stdout);
    if (getchar() != EOF && seconds > 0) {
        double begin = now();
        messages = run(clients, clients + connections, depth, begin + seconds);
        taken = now() - begin;
    }
    printf("{\"messages\": %llu, \"seconds\": %.6f}\n", (unsigned long long)messages, taken);
    fflush(stdout);
    while (getchar() != EOF) {}
    return 0;
}
