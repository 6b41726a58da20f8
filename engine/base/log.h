/* Log lines as nats-server writes them: `[pid] 2026/01/02 15:04:05.000000 [INF] text`. One sink per
 * process, set by main (stderr or a file); tests capture. Any thread; a line is written with one
 * call. Never a secret, never per message (but for -V). */
#ifndef ENGINE_BASE_LOG_H
#define ENGINE_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_FTL, LOG_ERR, LOG_WRN, LOG_INF, LOG_DBG, LOG_TRC };

#define LOG_LINE_MAX 4096 /* bytes of one line; the rest is cut and marked with "..." */

/* `line` has no newline and no time stamp; the sink adds what its output needs. */
typedef void (*log_sink_fn)(void *arg, enum log_level level, const char *line, size_t len);

/* NULL sets the default sink: the layout below to stderr, without the time. Sinks run one at a time
 * and must not log.
 */
void log_set_sink(log_sink_fn sink, void *arg);
/* Writes `[pid] date time [TAG] line\n` into out (cut to fit, always ends in a newline, no NUL);
 * for sinks. real_ns < 0: no time. Local time, as nats-server. Returns the length. */
size_t log_layout(char *out, size_t out_size, int64_t real_ns, enum log_level level,
                  const char *line, size_t len);
void log_set_level(bool debug, bool trace);
bool log_enabled(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_err(...) log_line(LOG_ERR, __VA_ARGS__)
#define log_wrn(...) log_line(LOG_WRN, __VA_ARGS__)
#define log_inf(...) log_line(LOG_INF, __VA_ARGS__)
#define log_dbg(...) (log_enabled(LOG_DBG) ? log_line(LOG_DBG, __VA_ARGS__) : (void)0)
#define log_trc(...) (log_enabled(LOG_TRC) ? log_line(LOG_TRC, __VA_ARGS__) : (void)0)

#endif
