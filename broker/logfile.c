/* The log sink over env: appends at the end that the file has now, so that truncation from outside
 * is harmless. */
#include "broker/logfile.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/base.h"
#include "engine/base/log.h"
#include "engine/base/mutex.h"

struct brk_logfile {
    struct env *env; /* borrowed */
    char *path;      /* owned; NULL: stderr; of the thread that reopens */
    struct base_mutex mutex;
    bool logtime;          /* guarded by: mutex */
    struct env_file *file; /* guarded by: mutex; NULL: stderr */
};

static void append(struct brk_logfile *l, const char *line, size_t len)
{
    uint64_t end = 0;
    if (env_size(l->env, l->file, &end, NULL) != ST_OK ||
        env_pwrite(l->env, l->file, line, len, end, NULL) != ST_OK) {
        return; /* nobody to tell */
    }
}

static void sink(void *arg, enum log_level level, const char *line, size_t len)
{
    struct brk_logfile *l = arg;
    char out[LOG_LINE_MAX + 128];
    base_mutex_lock(&l->mutex);
    size_t n = log_layout(out, sizeof out, l->logtime ? env_real_ns(l->env) : -1, level, line, len);
    if (l->file != NULL) {
        append(l, out, n);
    } else {
        ssize_t w = write(STDERR_FILENO, out, n);
        (void)w;
    }
    base_mutex_unlock(&l->mutex);
}

enum st brk_logfile_open(struct env *env, const char *path, bool logtime, bool utc,
                         struct brk_logfile **log_out, struct err *err)
{
    *log_out = NULL;
    struct env_file *file = NULL;
    if (path != NULL) {
        enum st st = env_open(env, path, ENV_RDWR | ENV_CREATE, &file, err);
        if (st != ST_OK) {
            err_prefix(err, "error opening file");
            return st;
        }
    }
    if (utc) {
        setenv("TZ", "UTC", 1);
        tzset();
    }
    struct brk_logfile *l = base_calloc(1, sizeof *l);
    l->env = env;
    l->path = path == NULL ? NULL : base_strdup(path);
    l->logtime = logtime;
    l->file = file;
    base_mutex_init(&l->mutex);
    log_set_sink(sink, l);
    *log_out = l;
    return ST_OK;
}

enum st brk_logfile_reopen(struct brk_logfile *l, struct err *err)
{
    struct env_file *fresh = NULL;
    if (l->path == NULL) {
        return err_set(err, ST_UNSUPPORTED, 0, "the log does not go to a file");
    }
    enum st st = env_open(l->env, l->path, ENV_RDWR | ENV_CREATE, &fresh, err);
    if (st != ST_OK) {
        return st;
    }
    base_mutex_lock(&l->mutex);
    struct env_file *old = l->file;
    l->file = fresh;
    base_mutex_unlock(&l->mutex);
    env_close(l->env, old);
    return ST_OK;
}

enum st brk_logfile_change(struct brk_logfile *l, const char *path, bool logtime, struct err *err)
{
    struct env_file *fresh = NULL;
    if (path != NULL) {
        enum st st = env_open(l->env, path, ENV_RDWR | ENV_CREATE, &fresh, err);
        if (st != ST_OK) {
            return st;
        }
    }
    base_mutex_lock(&l->mutex);
    struct env_file *old = l->file;
    l->file = fresh;
    l->logtime = logtime;
    base_mutex_unlock(&l->mutex);
    env_close(l->env, old);
    base_free(l->path);
    l->path = path == NULL ? NULL : base_strdup(path);
    return ST_OK;
}

void brk_logfile_close(struct brk_logfile *l)
{
    if (l == NULL) {
        return;
    }
    log_set_sink(NULL, NULL);
    env_close(l->env, l->file);
    base_mutex_destroy(&l->mutex);
    base_free(l->path);
    base_free(l);
}
