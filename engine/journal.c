/* Life of the journal: open, start, stop, close; and what any thread may ask (journal.h). */
#include "engine/journal_int.h"

void jr_bytes_reserve(struct jr_bytes *b, size_t add)
{
    if (b->cap - b->len >= add) {
        return;
    }
    size_t cap = b->cap == 0 ? 256 : b->cap;
    while (cap - b->len < add) {
        cap *= 2;
    }
    b->p = base_realloc(b->p, cap);
    b->cap = cap;
}

enum st jr_open(struct env *env, const struct jr_opts *opts, struct jr **jr_out, struct err *err)
{
    *jr_out = NULL;
    ASSERT(opts->file_min_bytes % JF_PAGE == 0 && opts->file_min_bytes >= 4 * JF_PAGE);
    ASSERT(opts->file_max_bytes % JF_PAGE == 0 && opts->file_max_bytes >= opts->file_min_bytes);
    struct jr *jr = base_calloc(1, sizeof(*jr));
    jr->env = env;
    jr->opts = *opts;
    jr->dir = base_strdup(opts->dir);
    jr->opts.dir = jr->dir;
    base_mutex_init(&jr->mu);
    env_boot_id(env, jr->boot_id);
    enum st st = jr_dir_make(env, jr->dir, err);
    if (st == ST_OK) {
        st = jr_files_load(env, jr->dir, opts->store_uuid, &jr->files, &jr->spares, &jr->nspares,
                           &jr->max_file_no, &jr->next_spare, err);
        jr->spares_cap = jr->nspares;
    }
    if (st != ST_OK) {
        jr_close(jr);
        return st;
    }
    *jr_out = jr;
    return ST_OK;
}

/* --- start ------------------------------------------------------------------------------------ */

/* Where the new file's byte space begins: behind every file there is, and behind what was ever
 * called durable. */
static uint64_t new_base(const struct jr *jr)
{
    uint64_t base = u64_max(align_up(atomic_load(&jr->checkpoint_lsn), JF_PAGE), jr->rec.end_lsn);
    if (jr->files.n > 0) {
        const struct jr_file *last = &jr->files.v[jr->files.n - 1];
        base = u64_max(base, last->h.base_lsn + last->h.size);
    }
    return base;
}

/* From which trailing file on nothing was ever written but headers: files.n when there is none. A
 * server that is killed soon after each of its starts leaves one or two at each; they are taken
 * back so that they do not fill the disk. Not where anything was discarded or damaged: that is
 * evidence.
 */
static size_t empty_from(const struct jr *jr)
{
    size_t n = jr->files.n;
    size_t at = n;
    while (at > 0 && jr->files.v[at - 1].h.base_lsn >= jr->rec.end_lsn) {
        at--;
    }
    if (jr->rec.damaged || jr->rec.torn_bytes != 0 || at == 0) {
        return n;
    }
    const struct jr_file *last = &jr->files.v[at - 1]; /* the log ends in it */
    if (last->h.prev_end_lsn != 0 && jr->rec.end_lsn == last->h.base_lsn + JR_FIRST_OFF) {
        at--;
    }
    for (size_t i = at; i < n; i++) {
        uint8_t head[JG_FRAME];
        struct jg_header h;
        size_t got = 0;
        struct jr_file *f = &jr->files.v[i];
        if (f->unreadable || f->copy_bad ||
            env_pread(jr->env, f->f, head, sizeof(head), JR_FIRST_OFF, &got, NULL) != ST_OK ||
            got != sizeof(head) || jg_get(head, false, f->seed, &h) != ST_CORRUPT) {
            return n;
        }
    }
    return at;
}

/* Makes spares of the files from `from` on, now that a later one has its number and says where the
 * log ends. The preparer syncs the directory before it writes to one. */
static void take_back(struct jr *jr, size_t from)
{
    while (jr->files.n > from) {
        struct jr_file *f = &jr->files.v[jr->files.n - 1];
        if (jr_file_release(jr, f, f->h.size <= jr->opts.file_max_bytes, NULL) != ST_OK) {
            return; /* it has no groups: where it lies it does no harm */
        }
        env_close(jr->env, f->f);
        jr->files.n--;
        jr->prep.dir_dirty = true;
    }
}

#define FIRST_FILE_MIN ((uint64_t)64 * 1024)

/* On a full disk a small one will do: enough to purge and delete. */
static enum st first_spare(struct jr *jr, struct jr_spare *spare_out, struct env_file **f_out,
                           bool *fresh_out, struct err *err)
{
    uint64_t size = jr->opts.file_min_bytes;
    enum st st = jr_spare_get(jr, size, spare_out, f_out, fresh_out, err);
    while (st == ST_NOSPACE && size / 2 >= FIRST_FILE_MIN) {
        size /= 2;
        st = jr_spare_get(jr, size, spare_out, f_out, fresh_out, err);
    }
    return st;
}

static enum st open_first_file(struct jr *jr, struct err *err)
{
    struct jr_spare spare;
    struct env_file *f;
    bool fresh;
    /* A spare may have lost its number just now, and must not be written to while the directory
     * still has it. */
    enum st st = env_dirsync(jr->env, jr->dir, err);
    if (st == ST_OK) {
        st = first_spare(jr, &spare, &f, &fresh, err);
        if (st == ST_NOSPACE && jr_make_room(jr)) {
            st = first_spare(jr, &spare, &f, &fresh, err);
        }
    }
    if (st != ST_OK) {
        return st;
    }
    jr->stats.files_created += fresh ? 1 : 0;
    uint64_t prev_end = jr->files.n > 0 || jr->rec.end_lsn != 0 ? jr->rec.end_lsn : 0;
    size_t empty = empty_from(jr);
    if (empty < jr->files.n && jr->files.v[empty].h.prev_end_lsn != 0) {
        prev_end = jr->files.v[empty].h.prev_end_lsn;
    }
    st = jr_file_number(jr, f, spare, jr->max_file_no + 1, new_base(jr), prev_end, &jr->lane.cur,
                        err);
    if (st == ST_OK) {
        take_back(jr, empty);
    }
    return st;
}

static void start_state(struct jr *jr, uint64_t meta_gen)
{
    struct jr_lane *l = &jr->lane;
    uint64_t first = l->cur.h.base_lsn + JR_FIRST_OFF;
    uint64_t distance = first - u64_min(first, atomic_load(&jr->checkpoint_lsn));
    jr_hole_add(jr, first, distance - u64_min(distance, jr->rec.bytes));
    for (size_t i = 0; i < jr->files.n; i++) {
        env_close(jr->env, jr->files.v[i].f);
        jr->files.v[i].f = NULL;
    }
    jr->cur_info = l->cur;
    jr->cur_info.f = NULL;
    l->off = JR_FIRST_OFF;
    l->group_seq = jr->rec.group_seq + JR_SEQ_JUMP - 1;
    l->durable_seq = jr->rec.group_seq; /* recovery synced what it read */
    l->recorded_durable = l->durable_seq;
    atomic_store(&jr->end_lsn, l->cur.h.base_lsn + l->off);
    atomic_store(&jr->durable_lsn, l->cur.h.base_lsn + l->off);
    atomic_store(&jr->meta_gen, u64_max(meta_gen, atomic_load(&jr->meta_gen)));
    if (atomic_load(&jr->wall_ns) < jr->rec.wall_ns_max) {
        atomic_store(&jr->wall_ns, jr->rec.wall_ns_max);
    }
}

enum st jr_start(struct jr *jr, uint64_t meta_gen, struct err *err)
{
    ASSERT(jr->recovered);
    ASSERT(!jr->started);
    enum st st = open_first_file(jr, err);
    if (st != ST_OK) {
        err_prefix(err, "journal");
        return st;
    }
    start_state(jr, meta_gen);
    st = env_task_start(jr->env, "jr-prep", 5, jr_prep_step, jr, &jr->prep_task, err);
    if (st != ST_OK) {
        return st;
    }
    st = env_task_start(jr->env, "jr-lane", 0, jr_lane_step, jr, &jr->lane_task, err);
    if (st != ST_OK) {
        base_mutex_lock(&jr->mu);
        jr->tasks_down = true;
        base_mutex_unlock(&jr->mu);
        env_task_stop(jr->env, jr->prep_task);
        jr->prep_task = NULL;
        return st;
    }
    jr->started = true;
    return ST_OK;
}

/* --- stop ------------------------------------------------------------------------------------- */

static void tasks_stop(struct jr *jr)
{
    base_mutex_lock(&jr->mu);
    jr->tasks_down = true; /* nobody wakes a task that is being freed */
    base_mutex_unlock(&jr->mu);
    env_task_stop(jr->env, jr->lane_task);
    env_task_stop(jr->env, jr->prep_task);
    jr->lane_task = NULL;
    jr->prep_task = NULL;
}

static bool lane_has_work(struct jr *jr)
{
    base_mutex_lock(&jr->mu);
    bool work = jr->q_first != NULL;
    base_mutex_unlock(&jr->mu);
    return work || jr->lane.gathered != NULL;
}

/* The tasks are gone: their steps run here. ST_NOSPACE when no file could be had for what is left.
 */
static enum st drain(struct jr *jr, struct err *err)
{
    while (lane_has_work(jr)) {
        (void)jr_lane_step(jr);
        if (atomic_load(&jr->poisoned)) {
            return jr_poisoned(jr, err);
        }
        if (!jr->lane_waiting) {
            continue;
        }
        jr->prep.retry_at_ns = 0;
        while (!jr->next_ready || jr->next.h.size < jr->want_bytes) {
            (void)jr_prep_step(jr);
            if (jr->prep.retry_at_ns != 0) {
                return err_set(err, ST_NOSPACE, 0, "journal: no room to write what is pending");
            }
        }
    }
    return ST_OK;
}

/* The next file has no groups: as a spare it serves the next start, else it would lie about until a
 * checkpoint. */
static void give_back_next(struct jr *jr)
{
    if (!jr->next_ready) {
        return;
    }
    jr->next_ready = false;
    env_close(jr->env, jr->next.f);
    if (jr_file_release(jr, &jr->next, jr->next.h.size <= jr->opts.file_max_bytes, NULL) != ST_OK) {
        log_wrn("journal: could not give file %llu back", (unsigned long long)jr->next.h.file_no);
    }
}

enum st jr_stop(struct jr *jr, uint64_t *end_lsn_out, struct err *err)
{
    *end_lsn_out = 0;
    if (!jr->started) {
        return ST_OK;
    }
    tasks_stop(jr);
    enum st st = jr_poisoned(jr, err);
    if (st == ST_OK) {
        st = drain(jr, err);
    }
    if (st == ST_OK || st == ST_NOSPACE) {
        jr->lane.gathered = NULL; /* after ST_NOSPACE: stays with its owner, never done */
        enum st st2 = jr_lane_shutdown(jr);
        if (st2 == ST_OK) {
            *end_lsn_out = atomic_load(&jr->end_lsn);
            give_back_next(jr);
        } else {
            st = jr_poisoned(jr, err);
        }
    }
    jr_prep_fini(jr);
    env_close(jr->env, jr->lane.cur.f);
    jr->lane.cur.f = NULL;
    jr->started = false;
    return st;
}

void jr_halt(struct jr *jr)
{
    if (jr->started) {
        tasks_stop(jr);
        jr->started = false;
    }
    base_mutex_lock(&jr->mu);
    jr->q_first = NULL;
    jr->q_last = NULL;
    base_mutex_unlock(&jr->mu);
    jr->lane.gathered = NULL;
    jr_prep_fini(jr);
    env_close(jr->env, jr->lane.cur.f);
    jr->lane.cur.f = NULL;
}

void jr_close(struct jr *jr)
{
    if (jr == NULL) {
        return;
    }
    jr_halt(jr);
    jr_files_fini(jr->env, &jr->files);
    base_free(jr->lane.head.p);
    base_free(jr->lane.iov);
    base_free(jr->lane.bulk);
    base_free(jr->lane.subs.p);
    base_free(jr->spares);
    base_free(jr->holes);
    base_free(jr->dir);
    base_mutex_destroy(&jr->mu);
    base_free(jr);
}

void jr_hole_add(struct jr *jr, uint64_t end, uint64_t len)
{
    if (jr->nholes == jr->holes_cap) {
        jr->holes_cap = jr->holes_cap == 0 ? 16 : jr->holes_cap * 2;
        jr->holes = base_realloc(jr->holes, jr->holes_cap * sizeof(*jr->holes));
    }
    jr->holes[jr->nholes++] = (struct jr_hole){.end = end, .len = len};
    atomic_fetch_add(&jr->hole_bytes, len);
}

static void holes_release(struct jr *jr, uint64_t checkpoint_lsn)
{
    size_t n = 0;
    base_mutex_lock(&jr->mu);
    while (n < jr->nholes && jr->holes[n].end <= checkpoint_lsn) {
        atomic_fetch_sub(&jr->hole_bytes, jr->holes[n++].len);
    }
    jr->nholes -= n;
    memmove(jr->holes, jr->holes + n, jr->nholes * sizeof(*jr->holes));
    base_mutex_unlock(&jr->mu);
}

/* --- any thread ------------------------------------------------------------------------------- */

static void wake_prep(struct jr *jr)
{
    base_mutex_lock(&jr->mu);
    if (!jr->tasks_down && jr->prep_task != NULL) {
        env_task_wake(jr->env, jr->prep_task);
    }
    base_mutex_unlock(&jr->mu);
}

enum st jr_poisoned(struct jr *jr, struct err *err)
{
    if (!atomic_load(&jr->poisoned)) {
        return ST_OK;
    }
    base_mutex_lock(&jr->mu);
    if (err != NULL) {
        *err = jr->poison;
    }
    base_mutex_unlock(&jr->mu);
    return ST_POISONED;
}

uint64_t jr_window_used(struct jr *jr)
{
    uint64_t end = atomic_load(&jr->end_lsn);
    uint64_t from = atomic_load(&jr->checkpoint_lsn);
    return (end > from ? end - from : 0) + atomic_load(&jr->pending_bytes) +
           atomic_load(&jr->placed_bytes);
}

bool jr_starved(struct jr *jr)
{
    return atomic_load(&jr->no_space);
}

uint64_t jr_durable_lsn(struct jr *jr)
{
    return atomic_load(&jr->durable_lsn);
}

void jr_want_sync(struct jr *jr)
{
    atomic_store(&jr->want_sync, true);
    if (jr->lane_task != NULL) {
        env_task_wake(jr->env, jr->lane_task);
    }
}

static void raise_to(atomic_uint_fast64_t *a, uint64_t v)
{
    uint64_t old = atomic_load(a);
    while (old < v && !atomic_compare_exchange_weak(a, &old, v)) {
    }
}

void jr_release(struct jr *jr, uint64_t checkpoint_lsn, uint64_t meta_gen)
{
    uint64_t end = atomic_load(&jr->end_lsn); /* 0 before the start */
    ASSERT(IMPLIES(end != 0, checkpoint_lsn <= end));
    raise_to(&jr->meta_gen, meta_gen);
    raise_to(&jr->checkpoint_lsn, checkpoint_lsn);
    holes_release(jr, checkpoint_lsn);
    wake_prep(jr);
}

void jr_scrub(struct jr *jr)
{
    enum { ON_THE_WAY = 16 * MIB }; /* sealed, not written yet */
    raise_to(&jr->scrub_lsn, atomic_load(&jr->end_lsn) + ON_THE_WAY);
}

void jr_set_wall_ns(struct jr *jr, uint64_t store_ns)
{
    raise_to(&jr->wall_ns, store_ns);
}

void jr_stats_get(struct jr *jr, struct jr_stats *out)
{
    base_mutex_lock(&jr->mu);
    *out = jr->stats;
    base_mutex_unlock(&jr->mu);
}
