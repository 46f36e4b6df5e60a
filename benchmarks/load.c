/* The load generator: many clients of a line server, in one busy epoll loop.
 *
 *     load echo   PORT CONNECTIONS SIZE DEPTH SECONDS      each line comes back to the connection that sent it
 *     load fanout PORT CONNECTIONS SIZE DEPTH SECONDS      the last connection sends, each line comes to all of them
 *
 * DEPTH lines of SIZE bytes (newline included) are kept in flight, on each connection or by the one that sends, and
 * every byte that comes back is compared with what was sent: a stream is an endless repetition of one block of
 * different lines, entered at another line by each connection that sends, so that a lost, doubled, swapped or damaged
 * line is seen at its first wrong byte.
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
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINES = 64, MAX_CONNECTIONS = 20000, MAX_SIZE = 65536, MAX_DEPTH = LINES, EVENTS = 256, BUFFER = 65536 };
enum { SLICE = 50 };          /* connections opened at once: fewer than any server's backlog */
enum { PER_SOURCE = 4096 };   /* connections from one address of 127.0.0.0/8: fewer than it has free ports */
static const double PATIENCE = 20.0, MAX_SECONDS = 120.0;

struct client {
    int fd;
    int waits_to_write;
    uint64_t first;                /* where in the block this connection's stream begins */
    uint64_t goal, sent, received; /* bytes of it: to be sent and answered, sent, answered */
};

static int fanout;
static uint64_t arrived[LINES]; /* fanout: how many connections have had the line at this place of the block */
static char *block; /* LINES different lines, then the same again, so that a comparison never wraps */
static uint64_t block_size, line_size, depth;
static struct client *clients, *sender; /* the one that sends, in a fanout */
static int poller;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "load: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static long number(const char *text, long low, long high) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || value < low || value > high) fail("%s is not a number from %ld to %ld", text, low, high);
    return value;
}

static void fill_block(void) {
    block_size = LINES * line_size;
    block = malloc(2 * block_size);
    if (!block) fail("out of memory");
    for (uint64_t i = 0; i < block_size; i++) { /* no two lines, and no two stretches of one line, are alike */
        uint64_t line = i / line_size, column = i % line_size;
        block[i] = column == line_size - 1 ? '\n' : '0' + (line * 31 + column * 7 + column / 43 * (line + 1)) % 74;
    }
    memcpy(block + block_size, block, block_size);
}

/* Sends until the connection's goal, or until the kernel takes no more. */
static void send_to_goal(struct client *c) {
    while (c->sent < c->goal) {
        uint64_t at = (c->first + c->sent) % block_size, left = c->goal - c->sent;
        ssize_t n = send(c->fd, block + at, left < block_size ? left : block_size, MSG_NOSIGNAL);
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

/* Reads what is there and checks it. Returns the number of lines completed. */
static uint64_t receive(struct client *c) {
    static char buffer[BUFFER];
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n < 0) fail("recv: %s", strerror(errno));
    if (n == 0) fail("the server closed a connection after %llu bytes", (unsigned long long)c->received);
    if (c->received + n > (fanout ? sender : c)->sent) fail("the server answered more than it was sent");
    uint64_t before = c->received / line_size;
    for (uint64_t left = n, part; left; left -= part) {
        part = left < block_size ? left : block_size;
        if (memcmp(buffer + n - left, block + (c->first + c->received) % block_size, part))
            fail("wrong bytes in an answer, at byte %llu or soon after", (unsigned long long)c->received);
        c->received += part;
    }
    return c->received / line_size - before;
}

/* How many lines are now answered by all who should: of the `lines` that `c` has just completed. */
static uint64_t settled(struct client *c, uint64_t lines, uint64_t connections) {
    if (!fanout) return lines;
    uint64_t all = 0;
    for (uint64_t line = c->received / line_size - lines; lines; line++, lines--)
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
        c->goal += lines * line_size;
        send_to_goal(c);
    }
    while (owed) {
        int count = epoll_wait(poller, events, EVENTS, 0);
        if (count < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
        double time = now();
        for (int i = 0; i < count; i++) {
            struct client *c = events[i].data.ptr;
            uint64_t answers = receive(c), all = settled(c, answers, to - from);
            if (answers) last_answer = time;
            messages += answers;
            if (fanout) c = sender;
            if (time < end)
                c->goal += all * line_size;
            else
                owed -= all;
            send_to_goal(c);
        }
        if (time - last_answer > PATIENCE) fail("%llu answers are missing", (unsigned long long)owed);
    }
    return messages;
}

static void open_connection(struct client *c, uint64_t number, int port) {
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + number / PER_SOURCE)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from)) fail("bind: %s", strerror(errno));
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to)) fail("connect: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK)) fail("fcntl: %s", strerror(errno));
    c->first = fanout ? 0 : number % LINES * line_size;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e)) fail("epoll_ctl: %s", strerror(errno));
}

int main(int argc, char **argv) {
    if (argc != 7) fail("usage: load echo|fanout PORT CONNECTIONS SIZE DEPTH SECONDS");
    fanout = strcmp(argv[1], "echo") != 0;
    if (fanout && strcmp(argv[1], "fanout")) fail("%s is neither echo nor fanout", argv[1]);
    int port = number(argv[2], 1, 65535);
    long connections = number(argv[3], 1, MAX_CONNECTIONS);
    line_size = number(argv[4], 2, MAX_SIZE);
    depth = number(argv[5], 1, MAX_DEPTH);
    double seconds = strtod(argv[6], NULL);
    if (!(seconds >= 0 && seconds <= MAX_SECONDS)) fail("SECONDS must be from 0 to %.0f", MAX_SECONDS);
    fill_block();
    clients = calloc(connections, sizeof *clients);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || poller < 0) fail("out of memory or descriptors");
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
