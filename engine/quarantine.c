#include "engine/quarantine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/log.h"

enum st store_path(char out[STORE_PATH_MAX], const char *root, const char *name, struct err *err)
{
    int n = snprintf(out, STORE_PATH_MAX, "%s/%s", root, name);
    if (n < 0 || (size_t)n >= STORE_PATH_MAX) {
        return err_set(err, ST_TOOBIG, 0, "path of \"%s\" is longer than %u bytes", name,
                       STORE_PATH_MAX);
    }
    return ST_OK;
}

enum st quarantine_move(struct env *env, const char *root, const char *name, char *moved_out,
                        struct err *err)
{
    char from[STORE_PATH_MAX], dir[STORE_PATH_MAX], to[STORE_PATH_MAX], rel[128];
    uint32_t rnd;
    enum st st;

    if (moved_out != NULL) {
        moved_out[0] = '\0';
    }
    ASSERT(strlen(name) < 64);
    env_random(env, &rnd, sizeof(rnd));
    (void)snprintf(rel, sizeof(rel), "quarantine/%s.%016" PRIx64 "-%08" PRIx32, name,
                   (uint64_t)env_real_ns(env), rnd);
    if ((st = store_path(from, root, name, err)) != ST_OK ||
        (st = store_path(dir, root, "quarantine", err)) != ST_OK ||
        (st = store_path(to, root, rel, err)) != ST_OK) {
        return st;
    }
    st = env_mkdir(env, dir, NULL);
    if (st != ST_OK && st != ST_EXISTS) {
        return err_set(err, st, 0, "could not make %s: %s", dir, st_text(st));
    }
    st = env_rename(env, from, to, err);
    if (st == ST_NOTFOUND) {
        err_clear(err);
        return ST_OK;
    }
    if (st != ST_OK) {
        err_prefix(err, "move %s to quarantine", name);
        return st;
    }
    if ((st = env_dirsync(env, dir, err)) != ST_OK || (st = env_dirsync(env, root, err)) != ST_OK) {
        return st;
    }
    if (moved_out != NULL) {
        (void)snprintf(moved_out, STORE_PATH_MAX, "%s", rel);
    }
    return ST_OK;
}

/* --- what lies there -------------------------------------------------------------------------- */

/* A name ends with the time it was set aside: `.<16 hex>-<8 hex>`, or `.<decimal>` for segments. */
static int64_t since_of(const char *name)
{
    const char *p = strrchr(name, '.');
    size_t n = p != NULL ? strspn(p + 1, "0123456789") : 0;
    if (n > 0 && p[1 + n] == 0 && n <= 19) {
        return (int64_t)strtoull(p + 1, NULL, 10);
    }
    if (p != NULL && strspn(p + 1, "0123456789abcdef") == 16 && p[17] == '-' &&
        strspn(p + 18, "0123456789abcdef") == 8 && p[26] == 0) {
        return (int64_t)strtoull(p + 1, NULL, 16);
    }
    return INT64_MAX;
}

static void on_name(void *arg, const char *name, bool is_dir)
{
    struct quarantine_list *l = arg;
    if (!is_dir) {
        l->v = base_realloc(l->v, (l->n + 1) * sizeof *l->v);
        l->v[l->n++] = (struct quarantined){base_strdup(name), 0, since_of(name)};
    }
}

static int by_age(const void *a, const void *b)
{
    const struct quarantined *x = a, *y = b;
    return x->since_ns != y->since_ns ? (x->since_ns > y->since_ns) - (x->since_ns < y->since_ns)
                                      : strcmp(x->name, y->name);
}

static enum st path_of(char out[STORE_PATH_MAX], const char *root, const char *name,
                       struct err *err)
{
    int n = snprintf(out, STORE_PATH_MAX, "%s/quarantine/%s", root, name);
    return n > 0 && (size_t)n < STORE_PATH_MAX
               ? ST_OK
               : err_set(err, ST_TOOBIG, 0, "path of quarantine/%s is too long", name);
}

enum st quarantine_list(struct env *env, const char *root, struct quarantine_list *out,
                        struct err *err)
{
    char path[STORE_PATH_MAX];
    *out = (struct quarantine_list){0};
    enum st st = store_path(path, root, "quarantine", err);
    if (st == ST_OK) {
        st = env_list(env, path, on_name, out, err);
    }
    if (st == ST_NOTFOUND) {
        err_clear(err);
        return ST_OK;
    }
    for (size_t i = 0; i < out->n && st == ST_OK; i++) {
        struct env_file *f = NULL;
        st = path_of(path, root, out->v[i].name, err);
        if (st == ST_OK && env_open(env, path, ENV_RDONLY, &f, NULL) == ST_OK &&
            env_size(env, f, &out->v[i].bytes, NULL) != ST_OK) {
            out->v[i].bytes = 0;
        }
        env_close(env, f);
        out->bytes += out->v[i].bytes;
    }
    if (st != ST_OK) {
        quarantine_list_fini(out);
    } else if (out->n > 1) {
        qsort(out->v, out->n, sizeof *out->v, by_age);
    }
    return st;
}

void quarantine_list_fini(struct quarantine_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        base_free(l->v[i].name);
    }
    base_free(l->v);
    *l = (struct quarantine_list){0};
}

/* --- removing --------------------------------------------------------------------------------- */

static enum st remove_first(struct env *env, const char *root, const struct quarantine_list *l,
                            size_t n, struct err *err)
{
    char path[STORE_PATH_MAX];
    enum st st = ST_OK;
    for (size_t i = 0; i < n && st == ST_OK; i++) {
        st = path_of(path, root, l->v[i].name, err);
        if (st == ST_OK) {
            st = env_unlink(env, path, err);
            st = st == ST_NOTFOUND ? ST_OK : st;
        }
    }
    if (st == ST_OK && n > 0 && (st = store_path(path, root, "quarantine", err)) == ST_OK) {
        st = env_dirsync(env, path, err);
    }
    return st;
}

enum st quarantine_empty(struct env *env, const char *root, struct quarantine_list *l_out,
                         struct err *err)
{
    struct quarantine_list l;
    enum st st = quarantine_list(env, root, &l, err);
    if (st == ST_OK) {
        st = remove_first(env, root, &l, l.n, err);
    }
    if (st == ST_OK && l_out != NULL) {
        *l_out = l;
        return ST_OK;
    }
    quarantine_list_fini(&l);
    return st;
}

enum st quarantine_trim(struct env *env, const char *root, struct err *err)
{
    struct quarantine_list l;
    enum st st = quarantine_list(env, root, &l, err);
    size_t n = 0;
    uint64_t bytes = l.bytes;
    while (st == ST_OK && n + QUARANTINE_KEPT < l.n && l.v[n].since_ns != INT64_MAX &&
           (l.n - n > QUARANTINE_FILES_MAX || bytes > QUARANTINE_BYTES_MAX)) {
        bytes -= l.v[n++].bytes;
    }
    if (n > 0) {
        log_wrn("quarantine/ is full: the oldest files are removed files=%zu bytes=%llu", n,
                (unsigned long long)(l.bytes - bytes));
        st = remove_first(env, root, &l, n, err);
    }
    quarantine_list_fini(&l);
    return st;
}
