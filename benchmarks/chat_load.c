/* The people in a chat room: one of them speaks, the others read, in one epoll loop.
 *
 *     chat_load NAME=VALUE...
 *
 *     kind      lines, objects (prise chat: as a person, as a program), page (objects over WebSocket), irc, plain (a first
 *               line is the nickname), websocket (text messages, no etiquette)
 *     port      of the server, at 127.0.0.1
 *     clients   how many, the one who speaks among them
 *     visit     another number gives them other names: those of who has just left may not be free yet (default: 0)
 *     rooms     they are spread over so many; only the first is spoken in (default: 1)
 *     joining   so many come in at the same time (default: 8; ngircd lets about ten wait, and others try again in a second)
 *     stalled   so many of them stop to read once they are in (default: 0)
 *     size      bytes of what is said, etiquette not counted (default: 100)
 *     rate      messages a second; 0: the next one as soon as fewer than `depth` are on their way (default: 0)
 *     depth     see rate (default: 16)
 *     seconds   how long it speaks (default: 1)
 *     bytes     it stops earlier after so many bytes (default: 0, no bound)
 *     patience  seconds without any delivery, after which it gives up (default: 10)
 *
 * It prints "ready" once everybody is in and the room is quiet. At each line on its standard input it speaks, and prints one JSON
 * object: messages (said), complete (that reached everybody who reads), deliveries, seconds (until the last delivery), median,
 * high, worst (ms from the moment when a message was due until the LAST one has it; high is the 99th percentile), and busy (the share
 * of the time that this program itself was on its CPU; near 1 it is the load that is measured). At the end of its input it ends.
 *
 * Each message has a number. Whoever reads must get every number, once and in order; the speaker's own copy is not counted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROGRAM "chat_load"
#include "load_common.h"

enum { MAX_CLIENTS = 20000, MAX_MESSAGES = 1 << 20, MAX_SIZE = 1 << 15, EVENTS = 256, READ = 1 << 18 };
enum { PER_ADDRESS = 500 }; /* connections from each of 127.0.0.1, 127.0.0.2, ... */
static const double JOIN_TIME = 15.0, QUIET = 0.3;

static const struct kind {
    const char *name;
    const char *upgrade; /* the path of the WebSocket, or nothing */
    const char *hello;   /* the numbers of the visit, the client, the room */
    const char *in;      /* comes when it is in the room; no part of it begins as the whole does */
    const char *before, *after; /* around what is said */
} kinds[] = {
    {"lines", NULL, "c%d_%05d\n", "/help lists", "", "\n"},
    {"objects", NULL, "{\"hello\":{\"name\":\"c%d_%05d\",\"rooms\":[\"r%d\"],\"history\":0}}\n", "\"people\":", "{\"say\":\"", "\"}\n"},
    {"page", "/chat", "{\"hello\":{\"name\":\"c%d_%05d\",\"rooms\":[\"r%d\"],\"history\":0}}", "\"people\":", "{\"say\":\"", "\"}"},
    {"irc", NULL, "NICK c%d_%05d\r\nUSER c 0 * :c\r\nJOIN #r%d\r\n", " 366 ", "PRIVMSG #r0 :", "\r\n"},
    {"plain", NULL, "c%d_%05d\n", "Bienvenue", "", "\n"},
    {"websocket", "/", NULL, "\r\n\r\n", "", ""},
};

struct client {
    int fd, number, stage; /* CONNECTING..IN */
    int matched;           /* bytes of what it waits for */
    int mark;              /* bytes of a message's "^^" and number */
    uint32_t value, next;  /* the number that is being read, the one to come */
};
enum { UPGRADING, ENTERING, IN, STALLED };

static const struct kind *kind;
static long port, clients, visit, rooms = 1, joining = 8, stalled, size = 100, depth = 16, bytes;
static double rate, seconds = 1, patience = 10;
static struct client *people;
static int poller, inside;

static double *due;           /* by number */
static uint16_t *reached;
static float *times;
static uint32_t said, complete, first; /* first: of this round */
static uint64_t deliveries;
static double last;
static char *waiting; /* what the speaker could not write yet */
static size_t waiting_size;

static double used(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void watch(struct client *c, int how, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, how, c->fd, &e)) fail("epoll_ctl: %s", strerror(errno));
}

/* All at once, while people come in: it is little, and nothing else waits in that socket. */
static void send_all(struct client *c, const char *data, size_t length) {
    if (send(c->fd, data, length, MSG_NOSIGNAL) != (ssize_t)length) fail("client %d cannot write: %s", c->number, strerror(errno));
}

/* A text, as a masked frame (RFC 6455) where it is WebSocket; the mask is 0, which the server cannot know. Returns the length. */
static size_t framed(char *to, const char *text, size_t length) {
    size_t head = 0;
    if (kind->upgrade) {
        to[head++] = '\x81';
        if (length < 126) {
            to[head++] = 0x80 | length;
        } else {
            to[head++] = '\xfe';
            to[head++] = length >> 8;
            to[head++] = length;
        }
        memset(to + head, 0, 4);
        head += 4;
    }
    memcpy(to + head, text, length);
    return head + length;
}

static void greet(struct client *c) {
    char text[512], frame[600];
    c->stage = ENTERING;
    c->matched = 0;
    if (!kind->hello) return;
    int length = snprintf(text, sizeof text, kind->hello, (int)visit, c->number, (int)(c->number % rooms));
    send_all(c, frame, framed(frame, text, length));
}

static void come(struct client *c) {
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + c->number / PER_ADDRESS)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;
    double end = now() + JOIN_TIME;
    for (;;) {
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0) fail("socket: %s", strerror(errno));
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
        if (bind(c->fd, (struct sockaddr *)&from, sizeof from)) fail("bind: %s", strerror(errno));
        if (!connect(c->fd, (struct sockaddr *)&to, sizeof to)) break;
        close(c->fd);
        if (now() > end) fail("client %d cannot connect: %s", c->number, strerror(errno));
        usleep(10000); /* the server may be starting */
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK)) fail("fcntl: %s", strerror(errno));
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
    if (kind->upgrade) {
        char request[512];
        int length = snprintf(request, sizeof request,
            "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%ld\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", kind->upgrade, port);
        send_all(c, request, length);
        if (kind->hello) return;
    }
    greet(c);
}

/* What has come for somebody who is not in yet. */
static void enter(struct client *c, const char *data, ssize_t length) {
    for (ssize_t i = 0; i < length && c->stage < IN; i++) {
        const char *wanted = c->stage == UPGRADING ? "\r\n\r\n" : kind->in;
        c->matched = data[i] == wanted[c->matched] ? c->matched + 1 : data[i] == wanted[0];
        if (wanted[c->matched]) continue;
        if (c->stage == UPGRADING) {
            greet(c);
            continue;
        }
        c->stage = IN;
        inside++;
        if (c->number >= clients - stalled) {
            c->stage = STALLED;
            watch(c, EPOLL_CTL_DEL, 0);
        }
    }
}

static void delivered(struct client *c) {
    if (c->value != c->next || c->value >= said) fail("client %d got message %u where %u was to come", c->number, c->value, c->next);
    c->next++;
    deliveries++;
    if (++reached[c->value] == clients - stalled - 1) {
        last = now();
        times[complete - first] = (last - due[c->value]) * 1e3;
        complete++;
    }
}

/* Looks for "^^" and eight digits, wherever the reads have cut. */
static void scan(struct client *c, const char *data, ssize_t length) {
    for (const char *at = data, *end = data + length; at < end; at++) {
        if (c->mark == 0 && !(at = memchr(at, '^', end - at))) return;
        if (c->mark < 2) {
            c->mark = *at == '^' ? c->mark + 1 : 0;
            c->value = 0;
        } else if (*at >= '0' && *at <= '9') {
            c->value = c->value * 10 + (*at - '0');
            if (++c->mark == 10) {
                c->mark = 0;
                delivered(c);
            }
        } else {
            c->mark = 0;
        }
    }
}

/* Reads what is there, for `patience` seconds at most. Returns how many had something. */
static int turn(double patience) {
    static char buffer[READ];
    struct epoll_event events[EVENTS];
    int count = epoll_wait(poller, events, EVENTS, patience <= 0 ? 0 : (int)(patience * 1e3));
    if (count < 0 && errno != EINTR) fail("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        struct client *c = events[i].data.ptr;
        if (events[i].events & EPOLLOUT) {
            ssize_t n = send(c->fd, waiting, waiting_size, MSG_NOSIGNAL);
            if (n < 0 && errno != EAGAIN) fail("the speaker cannot write: %s", strerror(errno));
            if (n > 0) memmove(waiting, waiting + n, waiting_size -= n);
            if (!waiting_size) watch(c, EPOLL_CTL_MOD, EPOLLIN);
        }
        if (!(events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) continue;
        ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
        if (n < 0 && errno == EAGAIN) continue;
        if (n <= 0) fail("the server ended client %d: %s", c->number, n ? strerror(errno) : "end");
        if (c->stage < IN)
            enter(c, buffer, n);
        else if (c->number)
            scan(c, buffer, n);
    }
    return count;
}

static void say(double when) {
    static const char filling[] = " le chat dort sur le toit de la maison et personne ne le voit";
    static char text[MAX_SIZE + 1], line[MAX_SIZE + 200], frame[MAX_SIZE + 300];
    if (said >= MAX_MESSAGES) fail("too many messages");
    int length = snprintf(text, sizeof text, "^^%08u", said);
    for (; length < size; length++) text[length] = filling[(length - 10) % (sizeof filling - 1)];
    text[size - 1] = '.';
    length = snprintf(line, sizeof line, "%s%.*s%s", kind->before, (int)size, text, kind->after);
    length = framed(frame, line, length);
    due[said++] = when;
    ssize_t n = waiting_size ? 0 : send(people->fd, frame, length, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) fail("the speaker cannot write: %s", strerror(errno));
    if (n < 0) n = 0;
    if (n < length) {
        if (!waiting_size) watch(people, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
        waiting = realloc(waiting, waiting_size + length - n);
        if (!waiting) fail("out of memory");
        memcpy(waiting + waiting_size, frame + n, length - n);
        waiting_size += length - n;
    }
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void speak(void) {
    uint64_t before = deliveries;
    double begin = now(), until = begin + seconds, cpu = used(), moved = begin;
    first = complete = said;
    for (struct client *c = people; c < people + clients; c++) c->next = said;
    last = begin;
    for (;;) {
        double time = now(), wait = 0.1;
        int speaking = time < until && (!bytes || (uint64_t)(said - first) * size < (uint64_t)bytes);
        if (!speaking && complete == said) break;
        if (speaking && rate > 0) {
            double next = begin + (said - first) / rate;
            if (time >= next) {
                say(next);
                continue;
            }
            wait = next - time < 0.002 ? 0 : next - time - 0.001; /* the last moment is looped away, to be on time */
        } else if (speaking && said - complete < depth) {
            say(time);
            continue;
        }
        uint64_t so_far = deliveries;
        turn(wait);
        if (deliveries != so_far) moved = now();
        if (now() > moved + patience) break;
    }
    double end = now(), took = (last > begin ? last : end) - begin;
    uint32_t count = complete - first;
    qsort(times, count, sizeof *times, by_size);
    printf("{\"messages\": %u, \"complete\": %u, \"deliveries\": %llu, \"seconds\": %.6f, \"median\": %.4f, \"high\": %.4f, "
           "\"worst\": %.4f, \"busy\": %.3f}\n", said - first, count, (unsigned long long)(deliveries - before), took,
           count ? times[count / 2] : 0, count ? times[count * 99L / 100] : 0, count ? times[count - 1] : 0,
           (used() - cpu) / (end - begin));
    fflush(stdout);
}

static void option(const char *given) {
    static const struct {
        const char *name;
        long *value, low, high;
    } numbers[] = {
        {"port", &port, 1, 65535}, {"visit", &visit, 0, 9}, {"clients", &clients, 2, MAX_CLIENTS}, {"rooms", &rooms, 1, MAX_CLIENTS},
        {"joining", &joining, 1, MAX_CLIENTS}, {"stalled", &stalled, 0, 100}, {"size", &size, 12, MAX_SIZE}, {"depth", &depth, 1, MAX_MESSAGES},
        {"bytes", &bytes, 0, 1L << 40},
    };
    static const struct {
        const char *name;
        double *value;
    } reals[] = {{"rate", &rate}, {"seconds", &seconds}, {"patience", &patience}};
    const char *value = strchr(given, '=');
    if (!value) fail("%s: NAME=VALUE is wanted", given);
    size_t length = value++ - given;
    char *end = "";
    if (length == 4 && !strncmp(given, "kind", 4)) {
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (!strcmp(kinds[i].name, value)) kind = &kinds[i];
        return;
    }
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        if (strlen(reals[i].name) == length && !strncmp(given, reals[i].name, length)) {
            *reals[i].value = strtod(value, &end);
            if (*end || !(*reals[i].value >= 0)) fail("%s is no number from 0", given);
            return;
        }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strlen(numbers[i].name) == length && !strncmp(given, numbers[i].name, length)) {
            *numbers[i].value = strtol(value, &end, 10);
            if (*end || *numbers[i].value < numbers[i].low || *numbers[i].value > numbers[i].high) fail("%s is out of bounds", given);
            return;
        }
    fail("there is no %s", given);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) option(argv[i]);
    if (!kind || !port || clients - stalled < 2) fail("kind, port and clients are wanted; see the source");
    people = memory(clients * sizeof *people);
    due = memory(MAX_MESSAGES * sizeof *due);
    times = memory(MAX_MESSAGES * sizeof *times);
    reached = memory(MAX_MESSAGES * sizeof *reached);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0) fail("epoll: %s", strerror(errno));

    double moved = now();
    for (int known = 0, before = 0; inside < clients;) {
        for (; known < clients && known - inside < joining; known++) {
            people[known].number = known;
            come(people + known);
        }
        turn(0.1);
        if (inside != before) moved = now();
        before = inside;
        if (now() > moved + patience) fail("only %d of %ld could come in", inside, clients);
    }
    for (moved = now(); now() < moved + QUIET;) /* what is said of those who came last */
        if (turn(0.1)) moved = now();
    puts("ready");
    fflush(stdout);
    for (int c; (c = getchar()) != EOF;)
        if (c == '\n') speak();
    return 0;
}
