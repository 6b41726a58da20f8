/* The journal's directory: numbered files, spares, headers (FORMAT-journal.md, "Files").
 *
 * A file becomes a journal file by its name: `spare-<n>` is never evidence, whatever it holds; a
 * numbered file has had both header pages synced before the rename that gave it the number, and the
 * directory was synced before its first group was issued. So a numbered file without a readable
 * header is damage, never a crash's trace. A file whose header carries another number than its name
 * was being recycled when the power went: it is a spare. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/journal_int.h"

#define JNL_DIGITS 16
static const char spare_prefix[] = "spare-";

void jr_path(const struct jr *jr, char *out, size_t cap, const char *name)
{
    int n = snprintf(out, cap, "%s/%s", jr->dir, name);
    ASSERT(n > 0 && (size_t)n < cap);
}

void jr_file_name(char out[JR_NAME_MAX], uint64_t file_no)
{
    (void)snprintf(out, JR_NAME_MAX, "%016" PRIx64 ".jnl", file_no);
}

static void spare_name(char out[JR_NAME_MAX], uint64_t n)
{
    (void)snprintf(out, JR_NAME_MAX, "%s%" PRIu64, spare_prefix, n);
}

#define PATH_CAP 4096u

void jr_files_fini(struct env *env, struct jr_files *fs)
{
    for (size_t i = 0; i < fs->n; i++) {
        env_close(env, fs->v[i].f);
    }
    base_free(fs->v);
    *fs = (struct jr_files){0};
}

void jr_files_add(struct jr_files *fs, const struct jr_file *f)
{
    if (fs->n == fs->cap) {
        fs->cap = fs->cap == 0 ? 8 : fs->cap * 2;
        fs->v = base_realloc(fs->v, fs->cap * sizeof(*fs->v));
    }
    size_t at = fs->n++;
    while (at > 0 && fs->v[at - 1].h.file_no > f->h.file_no) {
        fs->v[at] = fs->v[at - 1];
        at--;
    }
    fs->v[at] = *f;
}

/* --- directory -------------------------------------------------------------------------------- */

/* Cuts the last name off a path; false when there is none to cut. */
static bool path_up(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) {
        return false;
    }
    *slash = '\0';
    return true;
}

static enum st make_with_parents(struct env *env, const char *dir, struct err *err)
{
    char path[PATH_CAP];
    enum st st = env_mkdir(env, dir, err);
    if (st == ST_NOTFOUND) {
        memcpy(path, dir, strlen(dir) + 1);
        if (!path_up(path)) {
            return st;
        }
        st = make_with_parents(env, path, err);
        if (st == ST_OK) {
            st = env_mkdir(env, dir, err);
        }
    }
    return st == ST_EXISTS ? ST_OK : st;
}

enum st jr_dir_make(struct env *env, const char *dir, struct err *err)
{
    enum { LEVELS = 2 }; /* journal/<lane> below the store's root; what lies above is the store's */
    char path[PATH_CAP];
    size_t len = strlen(dir);
    if (len >= sizeof(path)) {
        return err_set(err, ST_TOOBIG, 0, "journal directory name is too long");
    }
    enum st st = make_with_parents(env, dir, err);
    memcpy(path, dir, len + 1);
    for (int i = 0; i < LEVELS && st == ST_OK && path_up(path); i++) {
        st = env_dirsync(
            env, path,
            err); /* also when all was there: the start that made it may have been killed */
    }
    if (st == ST_OK) {
        err_clear(err);
    }
    return st;
}

struct lister {
    struct jr_files *fs;
    struct jr_spare **spares;
    size_t *nspares;
    uint64_t max_file_no;
    uint64_t max_spare;
};

static bool parse_u64(const char *s, int radix, uint64_t *out)
{
    char *end;
    if (*s == '\0' || *s == '-' || *s == '+' || *s == ' ') {
        return false;
    }
    *out = strtoull(s, &end, radix);
    return *end == '\0';
}

static void lister_add_spare(struct lister *l, uint64_t n)
{
    *l->spares = base_realloc(*l->spares, (*l->nspares + 1) * sizeof(**l->spares));
    (*l->spares)[(*l->nspares)++] = (struct jr_spare){.n = n};
    l->max_spare = u64_max(l->max_spare, n);
}

static void on_name(void *arg, const char *name, bool is_dir)
{
    struct lister *l = arg;
    uint64_t n;
    size_t len = strlen(name);
    if (is_dir) {
        return;
    }
    if (len == JNL_DIGITS + 4 && strcmp(name + JNL_DIGITS, ".jnl") == 0) {
        char digits[JNL_DIGITS + 1];
        memcpy(digits, name, JNL_DIGITS);
        digits[JNL_DIGITS] = '\0';
        char again[JR_NAME_MAX];
        if (parse_u64(digits, 16, &n)) {
            jr_file_name(again, n);
            if (strcmp(again, name) == 0) {
                struct jr_file f = {.h.file_no = n};
                jr_files_add(l->fs, &f);
                l->max_file_no = u64_max(l->max_file_no, n);
            }
        }
    } else if (strncmp(name, spare_prefix, sizeof(spare_prefix) - 1) == 0 &&
               parse_u64(name + sizeof(spare_prefix) - 1, 10, &n)) {
        lister_add_spare(l, n);
    }
}

/* Reads one header page. ST_CORRUPT also for a page that cannot be read. */
static enum st header_at(struct env *env, struct env_file *f, uint64_t off, struct jf_header *h)
{
    uint8_t page[JF_PAGE];
    size_t got = 0;
    if (env_pread(env, f, page, sizeof(page), off, &got, NULL) != ST_OK || got != sizeof(page)) {
        return ST_CORRUPT;
    }
    return jf_header_get(page, h);
}

/* Both copies; fills file->h, copy_bad or unreadable. *size_out is what the file system says. */
static enum st load_headers(struct env *env, struct jr_file *file, uint64_t *size_out,
                            struct err *err)
{
    enum st st = env_size(env, file->f, size_out, err);
    if (st != ST_OK) {
        return st;
    }
    uint64_t size = *size_out;
    struct jf_header a;
    struct jf_header b;
    enum st first = header_at(env, file->f, 0, &a);
    uint64_t last_off = size >= JF_OVERHEAD ? (size - JF_PAGE) & ~(uint64_t)(JF_PAGE - 1) : 0;
    if (first == ST_OK) {
        last_off = a.size - JF_PAGE;
    }
    enum st second = last_off != 0 ? header_at(env, file->f, last_off, &b) : ST_CORRUPT;
    if (first != ST_OK && first != ST_CORRUPT) {
        return first;
    }
    if (first != ST_OK && second != ST_OK) {
        if (second != ST_CORRUPT) {
            return second;
        }
        file->unreadable = true;
        return ST_OK;
    }
    file->copy_bad = first != ST_OK || second != ST_OK;
    file->h = first == ST_OK ? a : b;
    file->seed = jf_seed(file->h.file_nonce);
    return ST_OK;
}

static enum st load_one(struct env *env, const char *dir, const uint8_t uuid[16],
                        struct jr_file *file, bool *recycled_out, struct err *err)
{
    char name[JR_NAME_MAX];
    char path[PATH_CAP];
    uint64_t file_no = file->h.file_no;
    uint64_t size = 0;
    jr_file_name(name, file_no);
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    enum st st = env_open(env, path, ENV_RDONLY, &file->f, err);
    if (st != ST_OK) {
        return st;
    }
    st = load_headers(env, file, &size, err);
    file->disk_size = size;
    if (st != ST_OK) {
        return err_set(err, st, 0, "journal file \"%s\": %s", path, st_text(st));
    }
    if (file->unreadable) {
        /* a guess; the neighbours know better */
        file->h.size = u64_max(align_up(u64_min(size, LSN_MAX / 2), JF_PAGE), JF_OVERHEAD);
        file->h.file_no = file_no;
        return ST_OK;
    }
    *recycled_out = file->h.file_no != file_no;
    file->h.file_no = file_no;
    if (!*recycled_out && memcmp(file->h.store_uuid, uuid, 16) != 0) {
        return err_set(err, ST_FOREIGN, 0, "journal file \"%s\" belongs to another store", path);
    }
    return ST_OK;
}

static enum st spare_sizes(struct env *env, const char *dir, struct jr_spare *spares, size_t *n,
                           struct err *err)
{
    size_t keep = 0;
    for (size_t i = 0; i < *n; i++) {
        char name[JR_NAME_MAX];
        char path[PATH_CAP];
        struct env_file *f;
        spare_name(name, spares[i].n);
        (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
        enum st st = env_open(env, path, ENV_RDONLY, &f, err);
        if (st != ST_OK) {
            continue; /* not evidence: one that cannot be opened is not used */
        }
        st = env_size(env, f, &spares[i].size, err);
        env_close(env, f);
        if (st == ST_OK) {
            spares[keep++] = spares[i];
        }
    }
    *n = keep;
    err_clear(err);
    return ST_OK;
}

enum st jr_files_load(struct env *env, const char *dir, const uint8_t store_uuid[16],
                      struct jr_files *fs, struct jr_spare **spares, size_t *nspares,
                      uint64_t *max_file_no, uint64_t *max_spare, struct err *err)
{
    struct lister l = {.fs = fs, .spares = spares, .nspares = nspares};
    enum st st = env_list(env, dir, on_name, &l, err);
    if (st == ST_OK) {
        st = spare_sizes(env, dir, *spares, nspares, err);
    }
    size_t keep = 0;
    for (size_t i = 0; i < fs->n; i++) {
        bool recycled = false;
        if (st == ST_OK) {
            st = load_one(env, dir, store_uuid, &fs->v[i], &recycled, err);
        }
        if (recycled) {
            /* Past the release point; the number stays unused until somebody rotates onto it. */
            env_close(env, fs->v[i].f);
            log_wrn("journal: file %016" PRIx64 " was being recycled, ignored", fs->v[i].h.file_no);
            continue;
        }
        fs->v[keep++] = fs->v[i];
    }
    fs->n = keep;
    *max_file_no = l.max_file_no;
    *max_spare = l.max_spare;
    return st;
}

/* --- spares ----------------------------------------------------------------------------------- */

static enum st spare_open(struct jr *jr, struct jr_spare s, unsigned flags, struct env_file **f_out,
                          struct err *err)
{
    char name[JR_NAME_MAX];
    char path[PATH_CAP];
    spare_name(name, s.n);
    jr_path(jr, path, sizeof(path), name);
    return env_open(jr->env, path, ENV_RDWR | flags, f_out, err);
}

void jr_spare_drop(struct jr *jr, struct env_file *f, struct jr_spare spare)
{
    char name[JR_NAME_MAX];
    char path[PATH_CAP];
    env_close(jr->env, f);
    spare_name(name, spare.n);
    jr_path(jr, path, sizeof(path), name);
    enum st st = env_unlink(jr->env, path, NULL);
    if (st != ST_OK && st != ST_NOTFOUND) {
        log_wrn("journal: could not remove \"%s\": %s", path, st_text(st));
    }
}

/* Some file systems cannot preallocate: then zeros are written, which serves as well and takes
 * longer. */
static enum st write_zeros(struct jr *jr, struct env_file *f, uint64_t size, struct err *err)
{
    size_t step = 256 * KIB;
    uint8_t *buf = base_calloc(1, step);
    enum st st = ST_OK;
    for (uint64_t off = 0; off < size && st == ST_OK; off += step) {
        st = env_pwrite(jr->env, f, buf, (size_t)u64_min(step, size - off), off, err);
    }
    base_free(buf);
    return st;
}

static enum st allocate(struct jr *jr, struct env_file *f, uint64_t size, struct err *err)
{
    enum st st = env_fallocate(jr->env, f, 0, size, err);
    if (st == ST_UNSUPPORTED) {
        err_clear(err);
        st = write_zeros(jr, f, size, err);
    }
    return st;
}

enum st jr_spare_scrub(struct jr *jr, struct err *err)
{
    char name[JR_NAME_MAX];
    char path[PATH_CAP];
    struct env_file *f = NULL;
    ASSERT(jr->nspares > 0);
    const struct jr_spare *s = &jr->spares[jr->nspares - 1];
    spare_name(name, s->n);
    jr_path(jr, path, sizeof(path), name);
    enum st st = env_open(jr->env, path, ENV_RDWR, &f, err);
    if (st == ST_OK) {
        st = write_zeros(jr, f, s->size, err);
    }
    if (st == ST_OK) {
        st = env_datasync(jr->env, f, err);
    }
    env_close(jr->env, f);
    return st;
}

enum st jr_spare_get(struct jr *jr, uint64_t size, struct jr_spare *spare_out,
                     struct env_file **f_out, bool *fresh_out, struct err *err)
{
    *f_out = NULL;
    *fresh_out = false;
    for (;;) {
        size_t best = jr->nspares;
        for (size_t i = 0; i < jr->nspares; i++) { /* the smallest that will do */
            if (jr->spares[i].size >= size && jr->spares[i].size % JF_PAGE == 0 &&
                (best == jr->nspares || jr->spares[i].size < jr->spares[best].size)) {
                best = i;
            }
        }
        if (best == jr->nspares) {
            break;
        }
        *spare_out = jr->spares[best];
        jr->spares[best] = jr->spares[--jr->nspares];
        if (spare_open(jr, *spare_out, 0, f_out, NULL) != ST_OK) {
            continue;
        }
        /* Its space may have been given back on a full disk (journal_room.c). */
        enum st full = env_fallocate(jr->env, *f_out, 0, spare_out->size, NULL);
        if (full == ST_OK || full == ST_UNSUPPORTED) {
            return ST_OK;
        }
        jr_spare_drop(jr, *f_out, *spare_out);
        *f_out = NULL;
    }
    *fresh_out = true;
    *spare_out = (struct jr_spare){.n = ++jr->next_spare, .size = size};
    enum st st = spare_open(jr, *spare_out, ENV_CREATE | ENV_EXCL, f_out, err);
    if (st != ST_OK) {
        return st;
    }
    st = allocate(jr, *f_out, size, err);
    if (st != ST_OK) {
        jr_spare_drop(jr, *f_out, *spare_out);
        *f_out = NULL;
    }
    return st;
}

/* --- numbering -------------------------------------------------------------------------------- */

static enum st write_headers(struct jr *jr, struct env_file *f, const struct jf_header *h,
                             struct err *err)
{
    uint8_t page[JF_PAGE];
    jf_header_put(page, h);
    enum st st = env_pwrite(jr->env, f, page, sizeof(page), h->size - JF_PAGE, err);
    if (st == ST_OK) {
        st = env_pwrite(jr->env, f, page, sizeof(page), 0, err);
    }
    return st == ST_OK ? env_datasync(jr->env, f, err) : st;
}

enum st jr_file_number(struct jr *jr, struct env_file *f, struct jr_spare spare, uint64_t file_no,
                       uint64_t base_lsn, uint64_t prev_end_lsn, struct jr_file *out,
                       struct err *err)
{
    struct jf_header h = {.file_no = file_no,
                          .base_lsn = base_lsn,
                          .size = spare.size,
                          .prev_end_lsn = prev_end_lsn,
                          .created_ns = (uint64_t)env_real_ns(jr->env)};
    memcpy(h.store_uuid, jr->opts.store_uuid, 16);
    memcpy(h.boot_id, jr->boot_id, 16);
    env_random(jr->env, h.file_nonce, 16);
    ASSERT(base_lsn <= LSN_MAX - spare.size);
    char from[PATH_CAP];
    char to[PATH_CAP];
    char name[JR_NAME_MAX];
    spare_name(name, spare.n);
    jr_path(jr, from, sizeof(from), name);
    jr_file_name(name, file_no);
    jr_path(jr, to, sizeof(to), name);

    enum st st = write_headers(jr, f, &h, err);
    if (st == ST_OK) {
        st = env_rename(jr->env, from, to, err);
    }
    if (st != ST_OK) {
        jr_spare_drop(jr, f, spare);
        return st;
    }
    st = env_dirsync(jr->env, jr->dir, err);
    if (st != ST_OK) {
        /* It may or may not have its number after a power loss; without groups it says nothing. */
        env_close(jr->env, f);
        if (env_unlink(jr->env, to, NULL) != ST_OK) {
            log_wrn("journal: could not remove \"%s\"", to);
        }
        return st;
    }
    jr->max_file_no = u64_max(jr->max_file_no, file_no);
    *out = (struct jr_file){.f = f, .h = h, .seed = jf_seed(h.file_nonce)};
    return ST_OK;
}

static void spare_add(struct jr *jr, struct jr_spare s);

enum st jr_file_release(struct jr *jr, const struct jr_file *file, bool keep, struct err *err)
{
    char from[PATH_CAP];
    char to[PATH_CAP];
    char name[JR_NAME_MAX];
    jr_file_name(name, file->h.file_no);
    jr_path(jr, from, sizeof(from), name);
    if (!keep) {
        enum st st = env_unlink(jr->env, from, err);
        return st == ST_NOTFOUND ? ST_OK : st;
    }
    struct jr_spare s = {.n = ++jr->next_spare, .size = file->h.size};
    spare_name(name, s.n);
    jr_path(jr, to, sizeof(to), name);
    enum st st = env_rename(jr->env, from, to, err);
    if (st == ST_OK) {
        spare_add(jr, s);
    }
    return st;
}

enum st jr_file_set_aside(struct jr *jr, const struct jr_file *file, struct err *err)
{
    char from[PATH_CAP];
    char to[PATH_CAP];
    char name[JR_NAME_MAX];
    uint32_t rnd;
    env_random(jr->env, &rnd, sizeof(rnd));
    jr_file_name(name, file->h.file_no);
    jr_path(jr, from, sizeof(from), name);
    (void)snprintf(to, sizeof(to), "%s/%s.%016" PRIx64 "-%08" PRIx32, jr->opts.quarantine, name,
                   (uint64_t)env_real_ns(jr->env), rnd);
    enum st st = env_rename(jr->env, from, to, err);
    if (st == ST_OK) {
        log_wrn("journal: file %016" PRIx64 " was damaged and is not needed any more: moved to %s",
                file->h.file_no, to);
        st = env_dirsync(jr->env, jr->opts.quarantine, err);
    }
    return st;
}

static void spare_add(struct jr *jr, struct jr_spare s)
{
    if (jr->nspares == jr->spares_cap) {
        jr->spares_cap = jr->spares_cap == 0 ? 8 : jr->spares_cap * 2;
        jr->spares = base_realloc(jr->spares, jr->spares_cap * sizeof(*jr->spares));
    }
    jr->spares[jr->nspares++] = s;
}
