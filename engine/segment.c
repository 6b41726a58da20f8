/* Files, descriptors, views, directories of a store's segments (segment.h).
 *
 * One mutex guards descriptors and the lists of files; it is held over open() of a descriptor only
 * by readers and start-up, never while bytes are read. */
#include "engine/segment_impl.h"

#include <inttypes.h>
#include <stdio.h>

#define OPEN_FILES_DEFAULT 512u

static void lock(struct segs *s) BASE_ACQUIRES(s->mutex);
static void unlock(struct segs *s) BASE_RELEASES(s->mutex);

static void lock(struct segs *s)
{
    base_mutex_lock(&s->mutex);
}
static void unlock(struct segs *s)
{
    base_mutex_unlock(&s->mutex);
}

/* --- paths ------------------------------------------------------------------------------------ */

void segs_path_dir(const struct segs *s, uint32_t gid, char out[SEG_PATH_MAX])
{
    int n = snprintf(out, SEG_PATH_MAX, "%s/s/%08" PRIx32, s->root, gid);
    ASSERT(n > 0 && n < (int)SEG_PATH_MAX);
}

void segs_path_file(const struct segs *s, uint32_t gid, uint64_t segno, uint32_t gen,
                    char out[SEG_PATH_MAX])
{
    int n = snprintf(out, SEG_PATH_MAX, "%s/s/%08" PRIx32 "/%" PRIu64 ".%" PRIu32 ".seg", s->root,
                     gid, segno, gen);
    ASSERT(n > 0 && n < (int)SEG_PATH_MAX);
}

/* --- life ------------------------------------------------------------------------------------- */

static enum st mkdir_if_missing(struct env *env, const char *root, const char *name, bool *made,
                                struct err *err)
{
    char path[SEG_PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", root, name);
    ASSERT(n > 0 && n < (int)sizeof(path));
    enum st st = env_mkdir(env, path, err);
    if (st == ST_OK) {
        *made = true;
    }
    return st == ST_EXISTS ? ST_OK : st;
}

enum st segs_open(struct env *env, const struct segs_opts *opts, struct segs **segs_out,
                  struct err *err)
{
    *segs_out = NULL;
    if (strlen(opts->root) > SEG_PATH_MAX - 256) {
        return err_set(err, ST_INVALID, 0, "the path of the store is too long");
    }
    bool made = false;
    enum st st = mkdir_if_missing(env, opts->root, "s", &made, err);
    if (st == ST_OK) {
        st = mkdir_if_missing(env, opts->root, "quarantine", &made, err);
    }
    if (st == ST_OK && made) {
        st = env_dirsync(env, opts->root, err);
    }
    if (st != ST_OK) {
        err_prefix(err, "segments");
        return st;
    }
    struct segs *s = base_calloc(1, sizeof(*s));
    s->env = env;
    s->root = base_strdup(opts->root);
    memcpy(s->store_uuid, opts->store_uuid, 16);
    s->crc_seed = opts->crc_seed;
    env_random(env, &s->hash_seed, sizeof(s->hash_seed));
    s->open_files_max = opts->open_files_max != 0 ? opts->open_files_max : OPEN_FILES_DEFAULT;
    base_mutex_init(&s->mutex);
    atomic_init(&s->files, 0);
    *segs_out = s;
    return ST_OK;
}

void segs_close(struct segs *s)
{
    if (s == NULL) {
        return;
    }
    (void)segs_reap(s);
    ASSERT(atomic_load(&s->files) == 0);
    base_mutex_destroy(&s->mutex);
    base_pages_free(atomic_load(&s->extent_pages), SEG_EXTENT_BYTES);
    base_pages_free(atomic_load(&s->bulk_pages), SEG_BULK_BYTES);
    base_free(s->dirs);
    base_free(s->root);
    base_free(s);
}

/* --- which directories are durable ------------------------------------------------------------ */

static struct seg_dir *dir_slot(struct seg_dir *table, size_t cap, uint32_t gid)
{
    size_t i = (gid * 2654435761u) & (cap - 1);
    while (table[i].gid != 0 && table[i].gid != gid) {
        i = (i + 1) & (cap - 1);
    }
    return &table[i];
}

static struct seg_dir *dir_of(struct segs *s, uint32_t gid) BASE_HOLDS(s->mutex);

/* The gid's entry, made when missing; valid until the next call. The mutex is held. */
static struct seg_dir *dir_of(struct segs *s, uint32_t gid)
{
    ASSERT(gid != 0);
    if ((s->dirs_n + 1) * 2 > s->dirs_cap) {
        size_t cap = s->dirs_cap == 0 ? 64 : s->dirs_cap * 2;
        struct seg_dir *table = base_calloc(cap, sizeof(*table));
        for (size_t i = 0; i < s->dirs_cap; i++) {
            if (s->dirs[i].gid != 0) {
                *dir_slot(table, cap, s->dirs[i].gid) = s->dirs[i];
            }
        }
        base_free(s->dirs);
        s->dirs = table;
        s->dirs_cap = cap;
    }
    struct seg_dir *d = dir_slot(s->dirs, s->dirs_cap, gid);
    if (d->gid == 0) {
        *d = (struct seg_dir){.gid = gid};
        s->dirs_n++;
    }
    return d;
}

void segs_gid_synced(struct segs *s, uint32_t gid)
{
    lock(s);
    dir_of(s, gid)->durable = true;
    unlock(s);
}

void segs_gid_entry(struct segs *s, uint32_t gid)
{
    lock(s);
    dir_of(s, gid)->entries++;
    unlock(s);
}

enum st segs_sync_dirs(struct segs *s, uint32_t gid, struct err *err)
{
    lock(s);
    struct seg_dir d = *dir_of(s, gid);
    unlock(s);
    if (d.entries == d.synced) {
        return ST_OK;
    }
    char path[SEG_PATH_MAX];
    segs_path_dir(s, gid, path);
    enum st st = env_dirsync(s->env, path, err);
    if (st == ST_OK && !d.durable) {
        int n = snprintf(path, sizeof(path), "%s/s", s->root);
        ASSERT(n > 0 && n < (int)sizeof(path));
        st = env_dirsync(s->env, path, err);
        if (st == ST_OK) {
            st = env_dirsync(s->env, s->root, err);
        }
    }
    if (st == ST_OK) {
        lock(s);
        struct seg_dir *now = dir_of(s, gid);
        now->durable = true;
        now->synced = u64_max(now->synced, d.entries);
        unlock(s);
    }
    return st;
}

/* --- descriptors ------------------------------------------------------------------------------ */

static void lru_unlink(struct segs *s, struct seg_file *f) BASE_HOLDS(s->mutex);

static void lru_unlink(struct segs *s, struct seg_file *f)
{
    *(f->lru_prev != NULL ? &f->lru_prev->lru_next : &s->lru_head) = f->lru_next;
    *(f->lru_next != NULL ? &f->lru_next->lru_prev : &s->lru_tail) = f->lru_prev;
    f->lru_prev = NULL;
    f->lru_next = NULL;
}

static void lru_push(struct segs *s, struct seg_file *f) BASE_HOLDS(s->mutex);

static void lru_push(struct segs *s, struct seg_file *f)
{
    f->lru_prev = NULL;
    f->lru_next = s->lru_head;
    *(s->lru_head != NULL ? &s->lru_head->lru_prev : &s->lru_tail) = f;
    s->lru_head = f;
}

static void rf_close(struct segs *s, struct seg_file *f) BASE_HOLDS(s->mutex);

static void rf_close(struct segs *s, struct seg_file *f)
{
    if (f->rf != NULL) {
        lru_unlink(s, f);
        env_close(s->env, f->rf);
        f->rf = NULL;
        s->open_files--;
    }
}

static void lru_shrink(struct segs *s) BASE_HOLDS(s->mutex);

static void lru_shrink(struct segs *s)
{
    struct seg_file *f = s->lru_tail;
    while (f != NULL && s->open_files > s->open_files_max) {
        struct seg_file *prev = f->lru_prev;
        if (f->rf_pins == 0) {
            rf_close(s, f);
        }
        f = prev;
    }
}

enum st seg_file_pin(struct seg_file *f, struct env_file **rf_out, struct err *err)
{
    struct segs *s = f->segs;
    *rf_out = NULL;
    lock(s);
    enum st st = ST_OK;
    if (f->rf == NULL) {
        char path[SEG_PATH_MAX];
        segs_path_file(s, f->gid, f->segno, f->gen, path);
        st = env_open(s->env, path, ENV_RDONLY, &f->rf, err);
        if (st == ST_OK) {
            s->open_files++;
            lru_push(s, f);
        }
    } else if (s->lru_head != f) {
        lru_unlink(s, f);
        lru_push(s, f);
    }
    if (st == ST_OK) {
        f->rf_pins++;
        *rf_out = f->rf;
        lru_shrink(s);
    }
    unlock(s);
    return st;
}

void seg_file_unpin(struct seg_file *f)
{
    lock(f->segs);
    ASSERT(f->rf_pins > 0);
    f->rf_pins--;
    unlock(f->segs);
}

struct seg_file *seg_file_create(struct segs *s, uint32_t gid, uint64_t segno, uint32_t gen,
                                 const uint8_t uuid[16])
{
    static atomic_uint_fast64_t next_id = 1;
    struct seg_file *f = base_calloc(1, sizeof(*f));
    atomic_init(&f->refs, 1);
    atomic_init(&f->written_len, 0);
    atomic_init(&f->past_cache, 0);
    f->segs = s;
    f->id = atomic_fetch_add(&next_id, 1);
    f->gid = gid;
    f->segno = segno;
    f->gen = gen;
    memcpy(f->uuid, uuid, 16);
    atomic_fetch_add(&s->files, 1);
    return f;
}

struct seg_file *seg_file_acquire(struct seg_file *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

static void seg_file_free(struct seg_file *f)
{
    atomic_fetch_sub(&f->segs->files, 1);
    base_free(f);
}

void seg_file_release(struct seg_file *f)
{
    if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct segs *s = f->segs;
    lock(s);
    ASSERT(f->rf_pins == 0);
    if (f->doomed) {
        /* the unlink blocks, so the flusher does it */
        s->doomed_pinned--;
        f->doomed_next = s->doomed;
        s->doomed = f;
        unlock(s);
        return;
    }
    rf_close(s, f);
    unlock(s);
    seg_file_free(f);
}

size_t segs_reap(struct segs *s)
{
    lock(s);
    struct seg_file *f = s->doomed;
    s->doomed = NULL;
    size_t pinned = s->doomed_pinned;
    unlock(s);
    while (f != NULL) {
        struct seg_file *next = f->doomed_next;
        char path[SEG_PATH_MAX];
        segs_path_file(s, f->gid, f->segno, f->gen, path);
        /* a file that stays is found at the next start: nothing refers to it any more */
        enum st st = env_unlink(s->env, path, NULL);
        (void)st;
        lock(s);
        rf_close(s, f);
        unlock(s);
        seg_file_free(f);
        f = next;
    }
    return pinned;
}

/* --- views ------------------------------------------------------------------------------------ */

struct seg_view *seg_view_create(struct seg_file *f, const struct seg_row *row, uint64_t base_seq,
                                 struct seg_bidx *bidx, uint32_t ndata)
{
    struct seg_view *v = base_calloc(1, sizeof(*v));
    atomic_init(&v->refs, 1);
    v->file = seg_file_acquire(f);
    v->row = *row;
    v->base_seq = base_seq;
    v->bidx = bidx;
    v->ndata = ndata;
    return v;
}

void seg_bidx_of(struct seg_bidx *out, const struct seg_bidx_disk *e, uint64_t base_seq)
{
    *out = (struct seg_bidx){
        .off8 = (uint32_t)(e->off / SEG_ALIGN),
        .stored_len = e->stored_len,
        .first_delta = (uint32_t)(e->first_seq - base_seq),
        .hdr_crc = e->hdr_crc,
        .max_ts = e->max_ts,
    };
}

void seg_view_acquire(struct seg_view *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
}

void seg_view_release(struct seg_view *v)
{
    if (v == NULL || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    seg_file_release(v->file);
    base_free(v->bidx);
    base_free(v);
}

struct seg_view *seg_view_closed(const struct seg_view *v)
{
    ASSERT(v->row.state == SEG_ACTIVE);
    struct seg_bidx *bidx = base_malloc((v->ndata + 1) * sizeof(*bidx));
    if (v->ndata != 0) {
        memcpy(bidx, v->bidx, v->ndata * sizeof(*bidx));
    }
    struct seg_row row = v->row;
    row.state = SEG_CLOSED;
    struct seg_view *c = seg_view_create(v->file, &row, v->base_seq, bidx, v->ndata);
    c->nmsgs = v->nmsgs;
    c->sections = v->sections;
    c->last_hdr_crc = v->last_hdr_crc;
    return c;
}

void seg_file_doom(struct seg_file *f)
{
    struct segs *s = f->segs;
    lock(s);
    if (!f->doomed) {
        f->doomed = true;
        s->doomed_pinned++;
    }
    unlock(s);
}

void seg_view_drop(struct seg_view *v)
{
    seg_file_doom(v->file);
}

uint64_t seg_view_file_id(const struct seg_view *v)
{
    return v->file->id;
}

bool seg_view_block_of(const struct seg_view *v, uint64_t seq, uint32_t *block_no_out)
{
    if (v->ndata == 0 || seq < v->row.first_seq || seq > v->row.last_seq) {
        return false;
    }
    uint64_t delta = seq - v->base_seq;
    uint32_t lo = 0;
    uint32_t hi = v->ndata;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (v->bidx[mid].first_delta <= delta) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    if (v->bidx[lo].first_delta > delta) {
        return false;
    }
    *block_no_out = lo;
    return true;
}

bool seg_view_block_by_time(const struct seg_view *v, int64_t ts, uint32_t *block_no_out)
{
    if (v->ndata == 0 || v->row.max_ts < ts) {
        return false;
    }
    for (uint32_t lo = 0, hi = v->ndata;;) {
        /* ts ascend (mirrors excepted, where the first hit of the halving is as good as any) */
        if (lo >= hi) {
            *block_no_out = lo;
            return lo < v->ndata;
        }
        uint32_t mid = lo + (hi - lo) / 2;
        if (v->bidx[mid].max_ts < ts) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
}

void seg_view_block_range(const struct seg_view *v, uint32_t block_no, uint64_t *first_out,
                          uint64_t *last_out)
{
    ASSERT(block_no < v->ndata);
    *first_out = v->base_seq + v->bidx[block_no].first_delta;
    *last_out = block_no + 1 < v->ndata ? v->base_seq + v->bidx[block_no + 1].first_delta - 1
                                        : v->row.last_seq;
}

size_t seg_views_find(struct seg_view *const *views, size_t n, uint64_t seq)
{
    size_t lo = 0;
    size_t hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (views[mid]->row.last_seq < seq) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

const char *seg_damage_text(enum seg_damage_cause cause)
{
    switch (cause) {
    case SEG_DAMAGE_BLOCK:
        return "block";
    case SEG_DAMAGE_SECTION:
        return "section";
    case SEG_DAMAGE_HEADER:
        return "header";
    case SEG_DAMAGE_TRAILER:
        return "trailer";
    case SEG_DAMAGE_FILE_MISSING:
        return "file missing";
    case SEG_DAMAGE_MESSAGE:
        return "message";
    case SEG_DAMAGE_PADDING:
        return "padding";
    }
    return "?";
}
