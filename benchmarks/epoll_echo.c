/* A line echo server in C: the least that this work costs on this machine.
 *
 * One epoll loop, level triggered. Complete lines are echoed with one write per batch of what one read brought; the
 * unfinished rest of a line is kept. What the kernel does not take stays in the connection's buffer, and nothing more
 * is read for that peer until it has gone. A buffer grows for a long line, up to the argument, in bytes (65536 without);
 * a longer line ends the connection. Prints its port when ready.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 65536, EVENTS = 256 };

static size_t longest = BUFFER;

struct peer {
    int fd, waits_to_write;
    size_t start, end, used; /* [start, end): complete lines to echo; [end, used): the beginning of the next */
    size_t room; /* bytes of the buffer */
    char *data;
};

static int poller;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void drop(struct peer *p) {
    close(p->fd); /* which takes it out of the poller too */
    free(p->data);
    free(p);
}

static void watch(struct peer *p, int waits_to_write) {
    if (p->waits_to_write == waits_to_write) return;
    p->waits_to_write = waits_to_write;
    struct epoll_event e = {.events = waits_to_write ? EPOLLOUT : EPOLLIN, .data.ptr = p};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, p->fd, &e)) die("epoll_ctl");
}

/* Echoes what is complete. Returns 0 when the connection is gone. */
static int echo(struct peer *p) {
    while (p->start < p->end) {
        ssize_t n = send(p->fd, p->data + p->start, p->end - p->start, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            watch(p, 1);
            return 1;
        }
        if (n < 0) return 0;
        p->start += n;
    }
    memmove(p->data, p->data + p->end, p->used - p->end);
    p->used -= p->end;
    p->start = p->end = 0;
    watch(p, 0);
    return 1;
}

static int readable(struct peer *p) {
    ssize_t n = recv(p->fd, p->data + p->used, p->room - p->used, 0);
    if (n < 0) return errno == EAGAIN;
    if (n == 0) return 0;
    char *newline = memrchr(p->data + p->used, '\n', n);
    p->used += n;
    if (!newline && p->used == p->room) {
        if (p->room >= longest) return 0;
        char *larger = realloc(p->data, 2 * p->room);
        if (!larger) return 0;
        p->data = larger;
        p->room *= 2;
    }
    if (!newline) return 1;
    p->end = newline + 1 - p->data;
    return echo(p);
}

static void welcome(int listener) {
    int yes = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return; /* gone again, or out of descriptors: tried again at the next event */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct peer *p = malloc(sizeof *p);
    if (!p || !(p->data = malloc(BUFFER))) die("malloc");
    p->room = BUFFER;
    p->fd = fd;
    p->waits_to_write = 0;
    p->start = p->end = p->used = 0;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = p};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e)) die("epoll_ctl");
}

int main(int argc, char **argv) {
    if (argc > 1) longest = strtoul(argv[1], NULL, 10);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || poller < 0) die("socket");
    if (bind(listener, (struct sockaddr *)&here, size) || listen(listener, 1024)) die("listen");
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e)) die("epoll_ctl");
    getsockname(listener, (struct sockaddr *)&here, &size);
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            struct peer *p = events[i].data.ptr;
            if (!p)
                welcome(listener);
            else if (!(p->waits_to_write ? echo(p) : readable(p)))
                drop(p);
        }
    }
}
