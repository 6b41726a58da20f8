#include "broker/sendsig.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "engine/base/base.h"

#define FOUND_MAX 32u

static const struct {
    const char *name;
    int sig;
} commands[] = {
    {"stop", SIGKILL},   {"quit", SIGINT},   {"term", SIGTERM},
    {"reopen", SIGUSR1}, {"reload", SIGHUP}, {"ldm", SIGUSR2},
};

/* Reads a small file whole: a pid file, or one of /proc. False: it is not there. */
static bool read_small(struct env *env, const char *path, char *out, size_t size)
{
    struct env_file *f = NULL;
    size_t got = 0;
    if (env_open(env, path, 0, &f, NULL) != ST_OK) {
        return false;
    }
    enum st st = env_pread(env, f, out, size - 1, 0, &got, NULL);
    env_close(env, f);
    out[st == ST_OK ? got : 0] = '\0';
    return st == ST_OK;
}

/* Digits and blanks around them; above 0. */
static bool read_pid(const char *text, pid_t *out)
{
    char *end = NULL;
    text += strspn(text, " \t\r\n");
    if (*text < '0' || *text > '9') {
        return false;
    }
    errno = 0;
    long n = strtol(text, &end, 10);
    end += strspn(end, " \t\r\n");
    if (errno != 0 || *end != '\0' || n <= 0 || n > INT32_MAX) {
        return false;
    }
    *out = (pid_t)n;
    return true;
}

enum st brk_signal_parse(struct env *env, const char *text, int *sig_out, pid_t *pid_out,
                         struct err *err)
{
    const char *equals = strchr(text, '=');
    size_t len = equals == NULL ? strlen(text) : (size_t)(equals - text);
    *sig_out = 0;
    *pid_out = 0;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strlen(commands[i].name) == len && strncasecmp(commands[i].name, text, len) == 0) {
            *sig_out = commands[i].sig;
        }
    }
    if (*sig_out == 0) {
        return err_set(err, ST_INVALID, 0, "unknown signal \"%.*s\"", (int)(len < 64 ? len : 64),
                       text);
    }
    if (equals == NULL || equals[1] == '\0' || read_pid(equals + 1, pid_out)) {
        return ST_OK;
    }
    char file[64];
    if (read_small(env, equals + 1, file, sizeof file) && read_pid(file, pid_out)) {
        return ST_OK;
    }
    return err_set(err, ST_INVALID, 0, "invalid pid: %.200s", equals + 1);
}

/* --- the server that runs ----------------------------------------------------------------------
 */

struct search {
    struct env *env;
    pid_t found[FOUND_MAX];
    size_t count;
};

static void look(void *arg, const char *name, bool is_dir)
{
    struct search *s = arg;
    char path[64], comm[64];
    pid_t pid = 0;
    if (!is_dir || strlen(name) > 20 || !read_pid(name, &pid) || pid == getpid() ||
        s->count == FOUND_MAX) {
        return;
    }
    snprintf(path, sizeof path, "/proc/%s/comm", name);
    if (!read_small(s->env, path, comm, sizeof comm)) {
        return; /* it is gone already */
    }
    comm[strcspn(comm, "\n")] = '\0';
    if (strcmp(comm, "nats-server") == 0 || strcmp(comm, "millrace") == 0) {
        s->found[s->count++] = pid;
    }
}

static enum st find_server(struct env *env, pid_t *out, struct err *err)
{
    struct search s = {.env = env};
    enum st st = env_list(env, "/proc", look, &s, err);
    if (st != ST_OK) {
        return st;
    }
    if (s.count == 0) {
        return err_set(err, ST_NOTFOUND, 0, "no nats-server processes running");
    }
    if (s.count > 1) {
        char list[FOUND_MAX * 12];
        size_t at = 0;
        for (size_t i = 0; i < s.count; i++) {
            int n = snprintf(list + at, sizeof list - at, "\n%d", (int)s.found[i]);
            at += n > 0 ? (size_t)n : 0;
        }
        return err_set(err, ST_BUSY, 0, "multiple nats-server processes running:%s", list);
    }
    *out = s.found[0];
    return ST_OK;
}

enum st brk_signal_send(struct env *env, const char *text, struct err *err)
{
    int sig = 0;
    pid_t pid = 0;
    enum st st = brk_signal_parse(env, text, &sig, &pid, err);
    if (st == ST_OK && pid == 0) {
        st = find_server(env, &pid, err);
    }
    if (st != ST_OK) {
        return st;
    }
    ASSERT(pid > 0);
    if (kill(pid, sig) != 0) {
        bool gone = errno == ESRCH;
        return err_set(err, gone ? ST_NOTFOUND : ST_DENIED, errno, "signal \"%.*s\" %d: %s",
                       (int)strcspn(text, "="), text, (int)pid,
                       gone ? "no such process" : "operation not permitted");
    }
    return ST_OK;
}
