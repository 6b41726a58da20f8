#include "engine/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/base.h"
#include "engine/base/mutex.h"

static struct base_mutex log_mutex = BASE_MUTEX_INITIALIZER;
static log_sink_fn log_sink BASE_GUARDED_BY(log_mutex); /* NULL = default_sink */
static void *log_sink_arg BASE_GUARDED_BY(log_mutex);

void log_set_sink(log_sink_fn sink, void *arg)
{
    base_mutex_lock(&log_mutex);
    log_sink = sink;
    log_sink_arg = arg;
    base_mutex_unlock(&log_mutex);
}

/* nats-server lets -V without -D trace but not debug; one threshold per kind. */
static atomic_bool log_debug, log_trace;

void log_set_level(bool debug, bool trace)
{
    atomic_store(&log_debug, debug);
    atomic_store(&log_trace, trace);
}

bool log_enabled(enum log_level level)
{
    switch (level) {
    case LOG_DBG:
        return atomic_load_explicit(&log_debug, memory_order_relaxed);
    case LOG_TRC:
        return atomic_load_explicit(&log_trace, memory_order_relaxed);
    case LOG_FTL:
    case LOG_ERR:
    case LOG_WRN:
    case LOG_INF:
        break;
    }
    return true;
}

size_t log_layout(char *out, size_t out_size, int64_t real_ns, enum log_level level,
                  const char *line, size_t len)
{
    static const char tags[][4] = {"FTL", "ERR", "WRN", "INF", "DBG", "TRC"};
    ASSERT(out_size >= 64);
    int n;
    if (real_ns < 0) {
        n = snprintf(out, out_size, "[%d] [%s] ", (int)getpid(), tags[level]);
    } else {
        time_t s = (time_t)(real_ns / NS_PER_S);
        struct tm tm;
        memset(&tm, 0, sizeof(tm));
        (void)localtime_r(&s, &tm);
        n = snprintf(out, out_size, "[%d] %04d/%02d/%02d %02d:%02d:%02d.%06d [%s] ", (int)getpid(),
                     tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                     (int)(real_ns % NS_PER_S / NS_PER_US), tags[level]);
    }
    size_t head = n < 0 ? 0 : u64_min((uint64_t)n, out_size - 1);
    size_t body = u64_min(len, out_size - 1 - head);
    memcpy(out + head, line, body);
    out[head + body] = '\n';
    return head + body + 1;
}

/* guarded by: log_mutex */
static void default_sink(enum log_level level, const char *line, size_t len)
{
    char out[LOG_LINE_MAX + 128];
    size_t n = log_layout(out, sizeof(out), -1, level, line, len);
    ssize_t w = write(STDERR_FILENO, out, n); /* nobody to tell when stderr is gone */
    (void)w;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if (!log_enabled(level)) {
        return;
    }
    char line[LOG_LINE_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (n < 0) {
        return;
    }
    size_t len = (size_t)n;
    if (len >= sizeof(line)) {
        len = sizeof(line) - 1;
        memcpy(line + len - 3, "...", 3);
    }
    /* A client's name or subject must not be able to forge a line of its own. */
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)line[i] < 0x20 && line[i] != '\t') {
            line[i] = ' ';
        }
    }
    base_mutex_lock(&log_mutex);
    if (log_sink != NULL) {
        log_sink(log_sink_arg, level, line, len);
    } else {
        default_sink(level, line, len);
    }
    base_mutex_unlock(&log_mutex);
}
