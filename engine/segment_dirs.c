/* Directories of segments: dropped streams, files nobody knows, quarantine (segment.h).
 *
 * A drop is a rename (synced), then unlinks, then the directory: whatever a crash leaves of that is
 * finished by doing it again. Nothing here decides what is garbage; the owner of the store does,
 * after replay. */
#include "engine/segment_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define DROPPED ".dropped"

static void path_join(char out[SEG_PATH_MAX], const char *dir, const char *name)
{
    int n = snprintf(out, SEG_PATH_MAX, "%s/%s", dir, name);
    ASSERT(n > 0 && n < (int)SEG_PATH_MAX);
}

static void path_s(const struct segs *s, char out[SEG_PATH_MAX])
{
    path_join(out, s->root, "s");
}

/* Names of a directory, collected first: unlinking while listing is not defined everywhere. */
struct names {
    char **v; /* owned */
    bool *dir;
    size_t n, cap;
};

static void names_add(void *arg, const char *name, bool is_dir)
{
    struct names *l = arg;
    if (l->n == l->cap) {
        l->cap = l->cap == 0 ? 16 : l->cap * 2;
        l->v = base_realloc(l->v, l->cap * sizeof(*l->v));
        l->dir = base_realloc(l->dir, l->cap * sizeof(*l->dir));
    }
    l->v[l->n] = base_strdup(name);
    l->dir[l->n++] = is_dir;
}

static void names_fini(struct names *l)
{
    for (size_t i = 0; i < l->n; i++) {
        base_free(l->v[i]);
    }
    base_free(l->v);
    base_free(l->dir);
    *l = (struct names){0};
}

/* --- dropping a stream ------------------------------------------------------------------------ */

/* Empties and removes a directory of files. ST_OK when it is not there. */
static enum st remove_dir(struct segs *s, const char *dir, struct err *err)
{
    struct names l = {0};
    enum st st = env_list(s->env, dir, names_add, &l, err);
    for (size_t i = 0; st == ST_OK && i < l.n; i++) {
        char path[SEG_PATH_MAX];
        path_join(path, dir, l.v[i]);
        st = env_unlink(s->env, path, err);
        st = st == ST_NOTFOUND ? ST_OK : st;
    }
    names_fini(&l);
    if (st == ST_OK) {
        st = env_rmdir(s->env, dir, err);
    }
    return st == ST_NOTFOUND ? ST_OK : st;
}

enum st segs_drop_stream(struct segs *s, uint32_t gid, struct err *err)
{
    char dir[SEG_PATH_MAX];
    char gone[SEG_PATH_MAX];
    char parent[SEG_PATH_MAX];
    segs_path_dir(s, gid, dir);
    int n = snprintf(gone, sizeof(gone), "%s/s/%08" PRIx32 DROPPED, s->root, gid);
    ASSERT(n > 0 && n < (int)sizeof(gone));
    path_s(s, parent);
    /* a directory with that name is what an earlier attempt left: a gid is never used again */
    enum st st = remove_dir(s, gone, err);
    if (st == ST_OK) {
        st = env_rename(s->env, dir, gone, err);
        if (st == ST_OK) {
            st = env_dirsync(s->env, parent, err);
            if (st == ST_OK) {
                st = remove_dir(s, gone, err);
            }
        } else if (st == ST_NOTFOUND) {
            st = ST_OK;
        }
    }
    if (st == ST_OK) {
        st = env_dirsync(s->env, parent, err);
    }
    if (st != ST_OK) {
        err_prefix(err, "drop the files of stream %" PRIu32, gid);
    } else {
        err_clear(err);
    }
    return st;
}

/* --- listing ---------------------------------------------------------------------------------- */

static bool parse_u64(const char **p, uint64_t *v_out)
{
    char *end = NULL;
    if (**p < '0' || **p > '9') {
        return false;
    }
    *v_out = strtoull(*p, &end, 10);
    *p = end;
    return true;
}

/* `<segno>.<gen>.seg`; else zeros. */
static void parse_file(const char *name, uint64_t *segno_out, uint32_t *gen_out)
{
    const char *p = name;
    uint64_t segno = 0;
    uint64_t gen = 0;
    *segno_out = 0;
    *gen_out = 0;
    if (parse_u64(&p, &segno) && *p++ == '.' && parse_u64(&p, &gen) && strcmp(p, ".seg") == 0 &&
        gen <= UINT32_MAX) {
        *segno_out = segno;
        *gen_out = (uint32_t)gen;
    }
}

/* `<8 hex>` or `<8 hex>.dropped`; else gid 0. */
static void parse_dir(const char *name, uint32_t *gid_out, bool *dropped_out)
{
    *gid_out = 0;
    size_t hex = strspn(name, "0123456789abcdef");
    *dropped_out = hex == 8 && strcmp(name + hex, DROPPED) == 0;
    if (hex == 8 && (name[8] == 0 || *dropped_out)) {
        *gid_out = (uint32_t)strtoul(name, NULL, 16);
    }
}

static uint64_t created_generation(struct segs *s, const char *path)
{
    struct env_file *f = NULL;
    uint8_t half[SEG_HALF];
    struct seg_header h;
    uint64_t generation = 0;
    if (env_open(s->env, path, ENV_RDONLY, &f, NULL) != ST_OK) {
        return 0;
    }
    struct seg_io io = {.env = s->env, .f = f, .limit = UINT64_MAX};
    if (seg_io_read(&io, half, sizeof(half), 0, NULL) == ST_OK &&
        seg_header_get(half, &h) == ST_OK && memcmp(h.store_uuid, s->store_uuid, 16) == 0) {
        generation = h.created_generation;
    }
    env_close(s->env, f);
    return generation;
}

static enum st list_dir(struct segs *s, const char *dir, uint32_t gid, bool dropped,
                        segs_list_fn fn, void *arg, struct err *err)
{
    struct names l = {0};
    enum st st = env_list(s->env, dir, names_add, &l, err);
    for (size_t i = 0; st == ST_OK && i < l.n; i++) {
        char path[SEG_PATH_MAX];
        uint64_t segno = 0;
        uint32_t gen = 0;
        path_join(path, dir, l.v[i]);
        if (!l.dir[i] && gid != 0) {
            parse_file(l.v[i], &segno, &gen);
        }
        fn(arg, gid, segno, gen, dropped, segno != 0 ? created_generation(s, path) : 0, path);
    }
    names_fini(&l);
    return st;
}

enum st segs_list(struct segs *s, segs_list_fn fn, void *arg, struct err *err)
{
    char top[SEG_PATH_MAX];
    path_s(s, top);
    struct names l = {0};
    enum st st = env_list(s->env, top, names_add, &l, err);
    for (size_t i = 0; st == ST_OK && i < l.n; i++) {
        char path[SEG_PATH_MAX];
        uint32_t gid = 0;
        bool dropped = false;
        path_join(path, top, l.v[i]);
        parse_dir(l.v[i], &gid, &dropped);
        if (l.dir[i]) {
            st = list_dir(s, path, gid, dropped, fn, arg, err);
        } else {
            fn(arg, 0, 0, 0, false, 0, path);
        }
    }
    names_fini(&l);
    return st;
}

/* --- quarantine, removal ---------------------------------------------------------------------- */

static enum st sync_parent(struct segs *s, const char *path, struct err *err)
{
    char dir[SEG_PATH_MAX];
    const char *slash = strrchr(path, '/');
    ASSERT(slash != NULL && (size_t)(slash - path) < sizeof(dir));
    memcpy(dir, path, (size_t)(slash - path));
    dir[slash - path] = 0;
    return env_dirsync(s->env, dir, err);
}

/* The path below the root with its slashes turned into dashes: tells where the file came from. */
static enum st quarantine_name(const struct segs *s, const char *path, char out[SEG_PATH_MAX],
                               struct err *err)
{
    size_t root = strlen(s->root);
    if (strncmp(path, s->root, root) != 0 || path[root] != '/') {
        return err_set(err, ST_INVALID, 0, "%s is not a file of this store", path);
    }
    char name[SEG_PATH_MAX];
    int n = snprintf(name, sizeof(name), "%s", path + root + 1);
    ASSERT(n > 0 && n < (int)sizeof(name));
    for (char *p = name; *p != 0; p++) {
        *p = *p == '/' ? '-' : *p;
    }
    /* a name may come back: the time keeps the older file */
    n = snprintf(out, SEG_PATH_MAX, "%s/quarantine/%s.%" PRId64, s->root, name,
                 env_real_ns(s->env));
    return n > 0 && n < (int)SEG_PATH_MAX ? ST_OK : err_set(err, ST_INVALID, 0, "path too long");
}

enum st segs_quarantine(struct segs *s, const char *path, struct err *err)
{
    char to[SEG_PATH_MAX];
    char dir[SEG_PATH_MAX];
    enum st st = quarantine_name(s, path, to, err);
    if (st == ST_OK) {
        st = env_rename(s->env, path, to, err);
    }
    path_join(dir, s->root, "quarantine");
    if (st == ST_OK) {
        st = env_dirsync(s->env, dir, err);
    }
    return st == ST_OK ? sync_parent(s, path, err) : st;
}

enum st segs_remove_unknown(struct segs *s, const char *path, struct err *err)
{
    enum st st = env_unlink(s->env, path, err);
    return st == ST_OK ? sync_parent(s, path, err) : st;
}
