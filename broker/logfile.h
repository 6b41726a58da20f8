/* Where log lines go: stderr or a file, in nats-server's layout (log_layout). The file can be
 * reopened (USR1), so that an outside program may rename it; a file that was truncated from outside
 * is appended to at its new end.
 *
 * Any thread logs (log.h serialises sinks); open, reopen and close are the main and signal
 * threads'. A write that fails is dropped: a full disk must not stop the server for its log. */
#ifndef BROKER_LOGFILE_H
#define BROKER_LOGFILE_H

#include <stdbool.h>

#include "engine/base/env.h"
#include "engine/base/err.h"

struct brk_logfile;

/* Opens the sink and installs it. path NULL: stderr. utc affects the whole process (it sets TZ). */
MUST_USE enum st brk_logfile_open(struct env *env, const char *path, bool logtime, bool utc,
                                  struct brk_logfile **log_out, struct err *err);
/* Opens the file's name anew. ST_UNSUPPORTED when the log goes to stderr; on any failure the old
 * file stays.
 */
MUST_USE enum st brk_logfile_reopen(struct brk_logfile *log, struct err *err);
/* Goes over to another file (NULL: stderr) and layout. On failure nothing changes. */
MUST_USE enum st brk_logfile_change(struct brk_logfile *log, const char *path, bool logtime,
                                    struct err *err);
/* Installs the default sink again and closes. NULL is a no-op. */
void brk_logfile_close(struct brk_logfile *log);

#endif
