#include "tests/sim/sim_main.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"

bool sim_verbose;
uint64_t sim_warnings;
static char doing[300];

static void on_abort(int sig)
{
    char line[400];
    int n = snprintf(line, sizeof line, "\nsignal %d at %s\n", sig, doing);
    ssize_t r = write(2, line, (size_t)n);
    (void)r;
    signal(sig, SIG_DFL);
    raise(sig);
}

static void on_log(void *arg, enum log_level level, const char *line, size_t len)
{
    (void)arg;
    sim_warnings += level <= LOG_WRN;
    if (sim_verbose) {
        fprintf(stderr, "  log[%d] %.*s\n", (int)level, (int)len, line);
    }
}

static const struct sim_option *find(const struct sim_option *o, size_t n, const char *arg)
{
    for (size_t i = 0; i < n; i++) {
        if (strncmp(arg, "--", 2) == 0 && strcmp(arg + 2, o[i].name) == 0) {
            return &o[i];
        }
    }
    return NULL;
}

static bool set(const struct sim_option *o, const char *value)
{
    char *end = NULL;
    if (o->number != NULL) {
        *o->number = strtoull(value, &end, 10);
    } else if (o->decimal != NULL) {
        *o->decimal = strtod(value, &end);
    } else if (o->text != NULL) {
        *o->text = value;
    } else {
        *o->flag = true;
    }
    return end == NULL || (end != value && *end == 0);
}

static bool parse(const struct sim_option *options, size_t n, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const struct sim_option *o = find(options, n, argv[i]);
        if (strcmp(argv[i], "--verbose") == 0) {
            sim_verbose = true;
        } else if (o == NULL || (o->hint != NULL && ++i == argc) || !set(o, argv[i])) {
            return false;
        }
    }
    return true;
}

bool sim_begin(const char *program, const struct sim_option *options, size_t n, int argc,
               char **argv)
{
    if (!parse(options, n, argc, argv)) {
        fprintf(stderr, "usage: %s", program);
        for (size_t i = 0; i < n; i++) {
            fprintf(stderr, " [--%s%s%s]", options[i].name, options[i].hint != NULL ? " " : "",
                    options[i].hint != NULL ? options[i].hint : "");
        }
        fprintf(stderr, " [--verbose]\n");
        return false;
    }
    log_set_sink(on_log, NULL);
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    return true;
}

void sim_doing(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(doing, sizeof doing, fmt, ap);
    va_end(ap);
}

double sim_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
