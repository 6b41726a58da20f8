/* The preparer: keeps one next file ready ahead of need and recycles what was released.
 *
 *   REST --no next file--> ZERO --all zeroed, or the lane waits--> NUMBER --> REST
 *
 * A step writes at most 1 MiB, so that stop and the simulation never wait long. Nothing here can
 * fail the lane: a spare that cannot be made is tried again later, and meanwhile the lane waits and
 * owners are told the window is full.
 *
 * What a crash can leave: a spare, zeroed or not; a numbered file without groups. Both are
 * harmless. Released files lose their numbers oldest first and the directory is synced before one
 * of them is written to, so that a number never names a file of another life. */
#include "engine/journal_int.h"

#define ZERO_STEP MIB
#define RETRY_NS (1 * NS_PER_S)
#define SPARES_SMALL_MAX 2u /* while files still grow; a fresh store stays small */
#define SPARES_MAX 4u       /* one checkpoint releases about this many files of the largest size */

/* --- release ---------------------------------------------------------------------------------- */

/* True when the oldest file lies wholly below the checkpoint; then it is taken off the list. */
static bool take_released(struct jr *jr, struct jr_file *out)
{
    uint64_t checkpoint = atomic_load(&jr->checkpoint_lsn);
    bool ok = false;
    base_mutex_lock(&jr->mu);
    if (jr->files.n > 0) {
        const struct jr_file *f = &jr->files.v[0];
        const struct jr_file *after = jr->files.n > 1 ? &jr->files.v[1] : &jr->cur_info;
        uint64_t end = f->h.base_lsn + f->h.size;
        if (after->h.prev_end_lsn != 0) {
            end = u64_min(end, after->h.prev_end_lsn);
        }
        ok = end <= checkpoint && !f->unreadable;
        if (f->unreadable) { /* it goes when a later file may go */
            ok = after->h.base_lsn <= checkpoint;
        }
        if (ok) {
            *out = *f;
            jr->files.n--;
            memmove(jr->files.v, jr->files.v + 1, jr->files.n * sizeof(*jr->files.v));
        }
    }
    base_mutex_unlock(&jr->mu);
    return ok;
}

static uint64_t next_size(struct jr *jr, uint64_t *want_out)
{
    base_mutex_lock(&jr->mu);
    uint64_t want = jr->want_bytes;
    uint64_t size = u64_min(jr->cur_info.h.size, jr->opts.file_max_bytes);
    size = u64_max(size, jr->grow_bytes);
    base_mutex_unlock(&jr->mu);
    while (size < want && size < jr->opts.file_max_bytes) {
        size = u64_min(size * 2, jr->opts.file_max_bytes);
    }
    *want_out = want;
    return u64_max(size, want);
}

static bool worth_keeping(struct jr *jr, uint64_t size, size_t others)
{
    uint64_t want;
    uint64_t need = u64_min(next_size(jr, &want), jr->opts.file_max_bytes);
    size_t most = size < jr->opts.file_max_bytes ? SPARES_SMALL_MAX : SPARES_MAX;
    return size >= need && size <= jr->opts.file_max_bytes && others < most;
}

/* Its number first, durably: a numbered file without groups would be damage. */
static enum st release_scrubbed(struct jr *jr, const struct jr_file *f, struct err *err)
{
    enum st st = jr_file_release(jr, f, true, err);
    if (st == ST_OK && (st = env_dirsync(jr->env, jr->dir, err)) == ST_OK) {
        st = jr_spare_scrub(jr, err);
    }
    return st;
}

static void release_files(struct jr *jr)
{
    struct jr_file f;
    bool any = false;
    while (take_released(jr, &f)) {
        env_close(jr->env, f.f);
        bool keep = !f.unreadable && worth_keeping(jr, f.h.size, jr->nspares);
        struct err err = {0};
        bool evidence = (f.damaged || f.unreadable) && jr->opts.quarantine != NULL;
        keep = keep && !evidence;
        bool scrub = f.h.base_lsn < atomic_load(&jr->scrub_lsn);
        enum st st = evidence ? jr_file_set_aside(jr, &f, &err)
                     : scrub  ? release_scrubbed(jr, &f, &err)
                              : jr_file_release(jr, &f, keep, &err);
        if (st != ST_OK) {
            log_wrn("journal: could not release file %llu: %s", (unsigned long long)f.h.file_no,
                    err.msg);
        }
        any = true;
        base_mutex_lock(&jr->mu);
        jr->stats.files_recycled += keep ? 1 : 0;
        base_mutex_unlock(&jr->mu);
    }
    if (any) {
        jr->prep.dir_dirty = true;
    }
}

/* Spares that are too small by now, or too many. */
static void trim_spares(struct jr *jr)
{
    for (size_t i = 0; i < jr->nspares;) {
        if (worth_keeping(jr, jr->spares[i].size, jr->nspares - 1)) {
            i++;
            continue;
        }
        struct jr_spare s = jr->spares[i];
        jr->spares[i] = jr->spares[--jr->nspares];
        jr_spare_drop(jr, NULL, s);
    }
}

/* --- the next file ---------------------------------------------------------------------------- */

static uint64_t prep_failed(struct jr *jr, enum st st, const struct err *err)
{
    if (!jr->prep.complained) {
        log_wrn("journal: could not prepare a file, publishers will have to wait: %s", err->msg);
        jr->prep.complained = true;
    }
    atomic_store(&jr->no_space, st == ST_NOSPACE);
    jr->prep.state = PREP_REST;
    jr->prep.f = NULL;
    jr->prep.retry_at_ns = env_boot_ns(jr->env) + RETRY_NS;
    return (uint64_t)RETRY_NS;
}

static bool lane_waits(struct jr *jr)
{
    base_mutex_lock(&jr->mu);
    bool waits = jr->lane_waiting;
    base_mutex_unlock(&jr->mu);
    return waits;
}

/* A prepared file that is too small for the group at hand becomes a spare again. It has no groups,
 * so it may. */
static enum st unnumber(struct jr *jr, const struct jr_file *next, struct err *err)
{
    env_close(jr->env, next->f);
    enum st st = jr_file_release(jr, next, true, err);
    return st == ST_OK ? env_dirsync(jr->env, jr->dir, err) : st;
}

/* False when a next file is ready and large enough. One that is too small is taken away from the
 * lane: decided and done under one lock, since the lane may take it at any time. */
static bool next_needed(struct jr *jr, uint64_t want, bool *too_small_out, struct jr_file *next_out)
{
    base_mutex_lock(&jr->mu);
    bool ready = jr->next_ready;
    *too_small_out = ready && jr->next.h.size < want && jr->want_bytes == want;
    if (*too_small_out) {
        *next_out = jr->next;
        jr->next_ready = false;
    }
    base_mutex_unlock(&jr->mu);
    return !ready || *too_small_out;
}

/* A file that is made may take a quarter of what is free: the checkpoint that gives files back
 * needs room for its segments first. */
static uint64_t leave_room(struct jr *jr, uint64_t size, uint64_t want)
{
    uint64_t avail, total;
    if (env_space(jr->env, jr->dir, &avail, &total, NULL) == ST_OK) {
        while (size > avail / 4 && size / 2 >= u64_max(want, LIM_JOURNAL_FILE_BYTES_MIN)) {
            size /= 2;
        }
    }
    return size;
}

static uint64_t prep_begin(struct jr *jr, uint64_t size, uint64_t want,
                           const struct jr_file *too_small)
{
    struct err err = {0};
    struct jr_prep *p = &jr->prep;
    enum st st = too_small != NULL ? unnumber(jr, too_small, &err) : ST_OK;
    size = leave_room(jr, size, want);
    if (st == ST_OK) {
        st = jr_spare_get(jr, size, &p->spare, &p->f, &p->zero, &err);
    }
    while (st == ST_NOSPACE &&
           size / 2 >= u64_max(want, LIM_JOURNAL_FILE_BYTES_MIN)) { /* a smaller one will do */
        size /= 2;
        st = jr_spare_get(jr, size, &p->spare, &p->f, &p->zero, &err);
    }
    if (st != ST_OK) {
        return prep_failed(jr, st, &err);
    }
    if (p->zero) {
        base_mutex_lock(&jr->mu);
        jr->stats.files_created++;
        base_mutex_unlock(&jr->mu);
    }
    p->zero = p->zero &&
              size <= jr->opts.file_max_bytes; /* a file of its own is used once: not worth it */
    p->zeroed = 0;
    p->state = p->zero ? PREP_ZERO : PREP_NUMBER;
    return ENV_STEP_AGAIN;
}

static uint64_t prep_zero(struct jr *jr)
{
    struct jr_prep *p = &jr->prep;
    struct err err = {0};
    if (p->zeroed >= p->spare.size || lane_waits(jr)) {
        p->state = PREP_NUMBER;
        return ENV_STEP_AGAIN;
    }
    size_t n = (size_t)u64_min(ZERO_STEP, p->spare.size - p->zeroed);
    uint8_t *buf = base_calloc(1, n);
    enum st st = env_pwrite(jr->env, p->f, buf, n, p->zeroed, &err);
    base_free(buf);
    p->zeroed += n;
    if (st == ST_OK) {
        st = env_datasync(jr->env, p->f,
                          &err); /* step by step: the lane's own syncs must not queue behind much */
    }
    if (st != ST_OK) {
        jr_spare_drop(jr, p->f, p->spare);
        return prep_failed(jr, st, &err);
    }
    return ENV_STEP_AGAIN;
}

static uint64_t prep_number(struct jr *jr)
{
    struct jr_prep *p = &jr->prep;
    struct err err = {0};
    struct jr_file next;
    base_mutex_lock(&jr->mu);
    struct jf_header cur = jr->cur_info.h;
    base_mutex_unlock(&jr->mu);
    /* The lane cannot have left cur: it needs this file to do so. */
    enum st st = jr_file_number(jr, p->f, p->spare, cur.file_no + 1, cur.base_lsn + cur.size, 0,
                                &next, &err);
    if (st != ST_OK) {
        return prep_failed(jr, st, &err);
    }
    p->state = PREP_REST;
    p->f = NULL;
    p->complained = false;
    bool was_full = atomic_exchange(&jr->no_space, false);
    base_mutex_lock(&jr->mu);
    jr->next = next;
    jr->next_ready = true;
    jr->grow_bytes = 0;
    if (jr->lane_waiting && !jr->tasks_down) {
        env_task_wake(jr->env, jr->lane_task);
    }
    base_mutex_unlock(&jr->mu);
    if (was_full && jr->opts.doorbell != NULL) { /* who was refused has nothing else to wait for */
        jr->opts.doorbell(jr->opts.doorbell_arg);
    }
    return ENV_STEP_AGAIN;
}

static uint64_t prep_rest(struct jr *jr)
{
    struct jr_prep *p = &jr->prep;
    release_files(jr);
    if (p->dir_dirty) {
        struct err err = {0};
        enum st st = env_dirsync(jr->env, jr->dir, &err);
        if (st != ST_OK) {
            return prep_failed(jr, st,
                               &err); /* nothing released is written to before this worked */
        }
        p->dir_dirty = false;
        p->retry_at_ns = 0; /* there may be room now */
    }
    uint64_t want;
    uint64_t size = next_size(jr, &want);
    bool too_small;
    struct jr_file small;
    int64_t now = env_boot_ns(jr->env);
    if (now < p->retry_at_ns) {
        return (uint64_t)(p->retry_at_ns - now);
    }
    if (next_needed(jr, want, &too_small, &small)) {
        return prep_begin(jr, size, want, too_small ? &small : NULL);
    }
    trim_spares(jr);
    return ENV_STEP_IDLE;
}

uint64_t jr_prep_step(void *arg)
{
    struct jr *jr = arg;
    switch (jr->prep.state) {
    case PREP_REST:
        return prep_rest(jr);
    case PREP_ZERO:
        return prep_zero(jr);
    case PREP_NUMBER:
        return prep_number(jr);
    }
    return ENV_STEP_IDLE;
}

void jr_prep_fini(struct jr *jr)
{
    env_close(jr->env, jr->prep.f); /* the spare stays, and may be used at the next start */
    jr->prep.f = NULL;
    if (jr->next_ready) {
        env_close(jr->env, jr->next.f);
        jr->next_ready = false;
    }
}
