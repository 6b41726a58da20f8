#include "broker/cpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/base.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
#define SMALL_FILE_BYTES 4096u

/* The kernel's files say that their size is 0. */
static bool read_small(struct env *env, const char *path, char text[SMALL_FILE_BYTES])
{
    struct env_file *f;
    if (env_open(env, path, ENV_RDONLY, &f, NULL) != ST_OK) {
        return false;
    }
    size_t n = 0;
    enum st st = env_pread(env, f, text, SMALL_FILE_BYTES - 1, 0, &n, NULL);
    env_close(env, f);
    text[st == ST_OK ? n : 0] = '\0';
    return st == ST_OK;
}

int64_t brk_cpus_quota_of(const char *text)
{
    char *end;
    long long quota = strtoll(text, &end, 10);
    if (end == text || quota <= 0 || quota > INT64_MAX / 100) {
        return BRK_CPUS_NO_QUOTA;
    }
    long long period = strtoll(end, NULL, 10);
    return period > 0 ? quota * 100 / period : BRK_CPUS_NO_QUOTA;
}

/* Our group's path in the hierarchy of version 2: the line "0::/path". Empty: none, or its root. */
static void group_path(struct env *env, char path[SMALL_FILE_BYTES])
{
    char text[SMALL_FILE_BYTES];
    path[0] = '\0';
    if (!read_small(env, "/proc/self/cgroup", text)) {
        return;
    }
    const char *at = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (at == NULL) {
        return;
    }
    at = strchr(at, '/');
    size_t n = at != NULL ? strcspn(at, "\n") : 0;
    if (n > 1 && memmem(at, n, "/..", 3) == NULL) {
        memcpy(path, at, n);
        path[n] = '\0';
    }
}

int64_t brk_cpus_quota(struct env *env)
{
    char path[SMALL_FILE_BYTES], file[SMALL_FILE_BYTES + 64], text[SMALL_FILE_BYTES];
    int64_t least = BRK_CPUS_NO_QUOTA;
    group_path(env, path);
    for (;;) {
        (void)snprintf(file, sizeof file, CGROUP_ROOT "%s/cpu.max", path);
        if (read_small(env, file, text)) {
            int64_t q = brk_cpus_quota_of(text);
            least = q < least ? q : least;
        }
        char *last = strrchr(path, '/');
        if (last == NULL) {
            return least;
        }
        *last = '\0';
    }
}

unsigned brk_cpus_online(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}

bool brk_cpus_to_spare(struct env *env)
{
    return brk_cpus_online() > 1 && brk_cpus_quota(env) >= 200;
}
