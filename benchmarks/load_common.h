/* What all load generators share: an end with a reason, the clock, numbers of the command line, memory.
 * Define PROGRAM, the name that goes before each reason, and include this after that. */

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, PROGRAM ": ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    exit(1);
}

/* Seconds. */
static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static inline double number(const char *text, double low, double high) {
    char *end;
    double value = strtod(text, &end);
    if (*end || !(value >= low && value <= high)) fail("%s is not a number from %g to %g", text, low, high);
    return value;
}

/* So many bytes, all of them zero. */
static inline void *memory(uint64_t bytes) {
    void *space = calloc(bytes, 1);
    if (!space) fail("out of memory");
    return space;
}
