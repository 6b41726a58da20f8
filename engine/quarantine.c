#include "engine/quarantine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/base.h"

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
