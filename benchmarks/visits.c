/* Clients of a line server that come and go, in one busy epoll loop.
 *
 *     visits talk  PORT SLOTS SECONDS   SLOTS at a time: each connects, says a line, has it back, and leaves
 *     visits burst PORT COUNT SECONDS   COUNT connect at once, say nothing and leave, then the next COUNT
 *     visits first PORT OPEN ACTIVE LINES EVERY SECONDS
 *         OPEN connections stay; ACTIVE of them say LINES lines a second together (0: as many as are answered, one in
 *         flight on each), and every EVERY seconds another client comes, says a line, has it back, and leaves
 *
 * To leave is to shut down one's own side and to wait until the server has closed its own, so that a visit counts only
 * when the server has done all of its work for it. No two lines are alike, and each byte that comes back is compared.
 * `first` tells how long the visitors waited for the first byte, from the moment when they were due: a server that
 * keeps the load waiting cannot make its figures better by that.
 *
 * It prints "ready" once all who stay are there and answered, starts at a line on its standard input, runs for SECONDS,
 * waits for what is still owed, prints one JSON object, and ends when its standard input does.
 * A server that loses a line or a visitor fails the run after PATIENCE seconds instead of hanging it.
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

#define PROGRAM "visits"
#include "load_common.h"

enum { SIZE = 100, MAX_STAYING = 20000, MAX_VISITORS = 1000, MAX_SAMPLES = 1000000, EVENTS = 256 };
enum { SLICE = 50 };       /* connections opened at once by those who stay: fewer than any server's backlog */
enum { PER_SOURCE = 4096 }; /* connections that stay, from one address of 127.0.0.0/8 */
enum { SOURCES = 200 };    /* addresses that visitors come from: a port is taken for a minute after each visit */
static const double PATIENCE = 20.0, MAX_SECONDS = 120.0;

struct client {
    enum { AWAY, SILENT, WAITING, LEAVING } state; /* WAITING: for the answer to what it has said */
    int fd, visitor;
    uint64_t line;   /* the number of the line that it has said */
    size_t received; /* bytes of the answer */
    double due;
};

static struct client *staying, *visitors;
static long here;                  /* clients that are in the middle of something: a line or a visit */
static uint64_t said, done, heard; /* lines said; visits that are over; lines answered */
static double *waits, last_event;
static long samples;
static int poller, port;

/* The line of this number, newline included. */
static void compose(char *line, uint64_t number) {
    int digits = sprintf(line, "%llu ", (unsigned long long)number);
    for (int column = digits; column < SIZE - 1; column++) line[column] = '0' + (number * 31 + column * 7) % 74;
    line[SIZE - 1] = '\n';
}

static void come(struct client *c, in_addr_t address) {
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from)) fail("bind: %s", strerror(errno));
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to)) fail("connect: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK)) fail("fcntl: %s", strerror(errno));
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e)) fail("epoll_ctl: %s", strerror(errno));
    c->state = SILENT;
}

static void say(struct client *c) {
    char line[SIZE];
    c->line = said++;
    c->received = 0;
    compose(line, c->line);
    if (send(c->fd, line, SIZE, MSG_NOSIGNAL) != SIZE) fail("send: %s", strerror(errno));
    c->state = WAITING;
    here++;
}

/* A visitor comes, and says something unless `silently`. */
static void visit(struct client *c, double due, int silently) {
    static uint64_t number;
    c->visitor = 1;
    c->due = due;
    come(c, INADDR_LOOPBACK + 1 + number++ % SOURCES);
    if (silently)
        here++;
    else
        say(c);
}

static void leave(struct client *c) {
    if (shutdown(c->fd, SHUT_WR)) fail("shutdown: %s", strerror(errno));
    c->state = LEAVING;
}

/* Reads what is there, checks it, and goes on to what comes next. */
static void hear(struct client *c, double time) {
    char buffer[2 * SIZE], line[SIZE];
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) fail("recv: %s", strerror(errno));
    last_event = time;
    if (n == 0) {
        if (c->state != LEAVING) fail("the server closed a connection");
        close(c->fd); /* which takes it out of the poller too */
        c->state = AWAY;
        here--;
        done++;
        return;
    }
    compose(line, c->line);
    if (c->state != WAITING || c->received + n > SIZE) fail("the server answered more than it was sent");
    if (memcmp(buffer, line + c->received, n)) fail("wrong bytes in an answer");
    if (c->visitor && !c->received && samples < MAX_SAMPLES) waits[samples++] = time - c->due;
    c->received += n;
    if (c->received < SIZE) return;
    heard++;
    c->state = SILENT;
    if (c->visitor)
        leave(c);
    else
        here--;
}

/* Handles what has happened until now. Returns the time of it; `each` is called for the clients that it happened to. */
static double turn(void (*each)(struct client *, double)) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(poller, events, EVENTS, 0);
    if (count < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
    double time = now();
    for (int i = 0; i < count; i++) {
        hear(events[i].data.ptr, time);
        if (each) each(events[i].data.ptr, time);
    }
    if (!here) last_event = time;
    if (time - last_event > PATIENCE) fail("%ld clients wait in vain", here);
    return time;
}

static double until;

static void again(struct client *c, double time) {
    if (c->state == AWAY && time < until) visit(c, time, 0);
}

static void talk(long slots) {
    for (long i = 0; i < slots; i++) visit(visitors + i, now(), 0);
    while (here) turn(again);
}

static void burst(long count) {
    while (now() < until) {
        for (long i = 0; i < count; i++) visit(visitors + i, now(), 1);
        for (long i = 0; i < count; i++) leave(visitors + i);
        while (here) turn(NULL);
    }
}

static void answered(struct client *c, double time) {
    if (!c->visitor && c->state == SILENT && time < until) say(c);
}

static struct client *active(long which, long open, long count) { return staying + which * open / count; }

static void first(long open, long count, double rate, double every) {
    double time = now(), line = time, visitor = time;
    long speaker = 0, slot = 0;
    for (long i = 0; !rate && i < count; i++) say(active(i, open, count));
    while (time < until || here) {
        for (; rate && line <= time && line < until; line += 1 / rate) {
            struct client *c = active(speaker++ % count, open, count);
            if (c->state == SILENT) say(c); /* else it is still waiting, and says nothing this time */
        }
        for (; visitor <= time && visitor < until && visitors[slot].state == AWAY; visitor += every) {
            visit(visitors + slot, visitor, 0);
            slot = (slot + 1) % MAX_VISITORS;
        }
        time = turn(rate ? NULL : answered);
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    int firsts = argc == 8 && !strcmp(argv[1], "first"), bursts = argc == 5 && !strcmp(argv[1], "burst");
    if (!firsts && !bursts && !(argc == 5 && !strcmp(argv[1], "talk")))
        fail("usage: visits talk|burst PORT COUNT SECONDS, or visits first PORT OPEN ACTIVE LINES EVERY SECONDS");
    port = number(argv[2], 1, 65535);
    long count = number(argv[3], 1, firsts ? MAX_STAYING : MAX_VISITORS);
    double seconds = number(argv[argc - 1], 0, MAX_SECONDS);
    waits = memory((uint64_t)MAX_SAMPLES * sizeof *waits);
    visitors = memory((uint64_t)MAX_VISITORS * sizeof *visitors);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0) fail("epoll_create1: %s", strerror(errno));
    last_event = now();
    long talking = 0;
    double rate = 0, every = 0;
    if (firsts) {
        talking = number(argv[4], 1, count);
        rate = number(argv[5], 0, 1e6);
        every = number(argv[6], 1e-6, MAX_SECONDS);
        staying = memory((uint64_t)count * sizeof *staying);
        for (long i = 0; i < count; i++) {
            come(staying + i, INADDR_LOOPBACK + 1 + i / PER_SOURCE);
            say(staying + i);
            while ((i + 1) % SLICE == 0 && here) turn(NULL);
        }
        while (here) turn(NULL);
    }
    puts("ready");
    fflush(stdout);
    double taken = 0;
    if (getchar() != EOF && seconds > 0) {
        double begin = last_event = now();
        heard = done = 0;
        until = begin + seconds;
        if (firsts)
            first(count, talking, rate, every);
        else if (bursts)
            burst(count);
        else
            talk(count);
        taken = now() - begin;
    }
    qsort(waits, samples, sizeof *waits, ascending);
    printf("{\"visits\": %llu, \"messages\": %llu, \"seconds\": %.6f, \"median\": %.2f, \"high\": %.2f}\n",
           (unsigned long long)done, (unsigned long long)heard, taken, samples ? waits[samples / 2] * 1e6 : 0,
           samples ? waits[samples * 99 / 100] * 1e6 : 0);
    fflush(stdout);
    while (getchar() != EOF) {}
    return 0;
}
