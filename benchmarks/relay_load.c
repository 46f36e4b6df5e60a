/* Both ends of a relay: connects to it, and is the server that it connects to, in one busy loop.
 *
 *     relay_load streams LISTENER PORT CONNECTIONS SIZE SECONDS    writes of SIZE bytes through it, as fast as they are taken
 *     relay_load turns   LISTENER PORT 1           1    SECONDS    one byte there and one back, again and again
 *
 * LISTENER is the number of the descriptor, inherited, where the relay's connections arrive; PORT is where the relay
 * listens. Connections are opened one by one, so that each is joined with the one that arrives next.
 *
 * It prints "ready" once every connection has passed CHECKED bytes unharmed, starts at a line on its standard input, prints
 * one JSON object (bytes and seconds, until the last byte has arrived; or turns, seconds and the median and 99th percentile
 * of a turn in microseconds), and keeps the connections open until its standard input ends.
 * What arrives while it measures is counted and thrown away inside the kernel (MSG_TRUNC, tcp(7)), so that the relay is
 * the slower side, not this program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROGRAM "relay_load"
#include "load_common.h"

enum { MAX_CONNECTIONS = 1000, MAX_SIZE = 1 << 20, EVENTS = 128, READ = 1 << 20, CHECKED = 1 << 20, MAX_TURNS = 1 << 22 };
static const double PATIENCE = 20.0, MAX_SECONDS = 120.0;

/* One connection through the relay. */
struct stream {
    struct end { /* what epoll reports */
        int fd;
        struct stream *stream;
    } near, far; /* the one that writes, the one that reads */
    uint64_t goal, sent, received;
};

static struct stream *streams;
static char *block; /* of `size` bytes, then the same again: a stream is its endless repetition */
static uint64_t size;
static int poller;

/* Waits until the other side has done something. */
static void wait_until(double end, const char *what) {
    if (now() > end) fail("waited too long for %s", what);
    usleep(1000);
}

static void watch(struct end *end, struct stream *stream, int fd, uint32_t events) {
    int yes = 1;
    end->fd = fd;
    end->stream = stream;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct epoll_event e = {.events = events, .data.ptr = end};
    if (fcntl(fd, F_SETFL, O_NONBLOCK) || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e)) fail("epoll: %s", strerror(errno));
}

static void open_stream(struct stream *s, int listener, int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    double end = now() + PATIENCE;
    int near, far;
    for (;;) { /* the relay may be starting */
        near = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (near < 0) fail("socket: %s", strerror(errno));
        if (!connect(near, (struct sockaddr *)&to, sizeof to)) break;
        close(near);
        wait_until(end, "the relay to listen");
    }
    while ((far = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0) wait_until(end, "the relay to connect");
    watch(&s->near, s, near, 0);
    watch(&s->far, s, far, EPOLLIN);
}

static void want_to_write(struct stream *s, int wanted) {
    struct epoll_event e = {.events = wanted ? EPOLLOUT : 0, .data.ptr = &s->near};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, s->near.fd, &e)) fail("epoll_ctl: %s", strerror(errno));
}

/* Writes until `until` or each stream's goal, whichever comes first, then waits for the rest. Returns the bytes arrived. */
static uint64_t run(long connections, uint64_t each, double until, int check) {
    static char buffer[READ];
    struct epoll_event events[EVENTS];
    uint64_t arrived = 0, sent = 0;
    long writing = connections;
    double last = now(), time = last;
    for (struct stream *s = streams; s < streams + connections; s++) {
        s->goal = s->sent + each;
        want_to_write(s, 1);
    }
    while (writing || arrived < sent) {
        int count = epoll_wait(poller, events, EVENTS, 0);
        if (count < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
        time = now();
        for (int i = 0; i < count; i++) {
            struct end *end = events[i].data.ptr;
            struct stream *s = end->stream;
            if (end == &s->near) {
                uint64_t left = time < until ? s->goal - s->sent : 0;
                ssize_t n = left ? send(end->fd, block + s->sent % size, left < size ? left : size, MSG_NOSIGNAL) : 0;
                if (n < 0 && errno != EAGAIN) fail("send: %s", strerror(errno));
                if (n > 0) s->sent += n, sent += n;
                if (time >= until || s->sent == s->goal) {
                    want_to_write(s, 0);
                    writing--;
                }
                continue;
            }
            ssize_t n = recv(end->fd, check ? buffer : NULL, check ? size : READ, check ? 0 : MSG_TRUNC);
            if (n < 0 && errno == EAGAIN) continue;
            if (n < 0) fail("recv: %s", strerror(errno));
            if (n == 0) fail("the relay ended a connection after %llu bytes", (unsigned long long)s->received);
            if (check && memcmp(buffer, block + s->received % size, n)) fail("wrong bytes came through");
            s->received += n;
            arrived += n;
            last = time;
        }
        if (time - last > PATIENCE) fail("%llu bytes are missing", (unsigned long long)(sent - arrived));
    }
    for (struct stream *s = streams; s < streams + connections; s++)
        if (s->received != s->sent) fail("a connection has the bytes of another");
    return arrived;
}

/* One byte from one end to the other. Yields between looks, for when the relay is on the same CPU. */
static void pass(int from, int to, char byte, double end) {
    char got;
    if (send(from, &byte, 1, MSG_NOSIGNAL) != 1) fail("send: %s", strerror(errno));
    for (;;) {
        ssize_t n = recv(to, &got, 1, 0);
        if (n == 1) break;
        if (n == 0 || errno != EAGAIN) fail("the relay ended a connection");
        if (now() > end) fail("a byte is missing");
        sched_yield();
    }
    if (got != byte) fail("a wrong byte came through");
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void take_turns(double seconds) {
    float *times = memory(MAX_TURNS * sizeof *times);
    long count = 0;
    double begin = now(), before = begin, time;
    do {
        pass(streams->near.fd, streams->far.fd, 'a' + count % 26, before + PATIENCE);
        pass(streams->far.fd, streams->near.fd, 'A' + count % 26, before + PATIENCE);
        time = now();
        times[count++] = (time - before) * 1e6;
        before = time;
    } while (time < begin + seconds && count < MAX_TURNS);
    qsort(times, count, sizeof *times, by_size);
    printf("{\"turns\": %ld, \"seconds\": %.6f, \"median\": %.2f, \"high\": %.2f}\n", count, time - begin, times[count / 2],
           times[count * 99 / 100]);
}

int main(int argc, char **argv) {
    if (argc != 7) fail("usage: relay_load streams|turns LISTENER PORT CONNECTIONS SIZE SECONDS");
    int turns = strcmp(argv[1], "streams") != 0;
    if (turns && strcmp(argv[1], "turns")) fail("%s is neither streams nor turns", argv[1]);
    int listener = number(argv[2], 0, 1 << 20), port = number(argv[3], 1, 65535);
    long connections = number(argv[4], 1, MAX_CONNECTIONS);
    size = number(argv[5], 1, MAX_SIZE);
    double seconds = strtod(argv[6], NULL);
    if (!(seconds > 0 && seconds <= MAX_SECONDS)) fail("SECONDS must be above 0, at most %.0f", MAX_SECONDS);
    block = memory(2 * size);
    for (uint64_t i = 0; i < size; i++) block[i] = block[size + i] = i * 2654435761u >> 13; /* no two stretches alike */
    streams = memory(connections * sizeof *streams);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0 || fcntl(listener, F_SETFL, O_NONBLOCK)) fail("epoll or listener: %s", strerror(errno));

    for (long i = 0; i < connections; i++) open_stream(streams + i, listener, port);
    run(connections, turns ? 1 : CHECKED, now() + PATIENCE, 1);
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF) return 0;
    if (turns) {
        take_turns(seconds);
    } else {
        double begin = now();
        uint64_t bytes = run(connections, UINT64_MAX / 2, begin + seconds, 0);
        printf("{\"bytes\": %llu, \"seconds\": %.6f}\n", (unsigned long long)bytes, now() - begin);
    }
    fflush(stdout);
    while (getchar() != EOF) {}
    return 0;
}
