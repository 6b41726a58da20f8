/* The lane: gathers sealed tickets into groups, writes and syncs them, says what is done.
 *
 * One step does one thing that may block: write a group (and sync it), rotate to the next file,
 * sync relaxed groups, or write an IDLE group. Batching needs no timer: what owners seal while a
 * sync runs is the next group.
 *
 * What a crash can leave: the group in flight in any mixture of old and new sectors (power loss) or
 * a prefix of it (process crash); relaxed groups since the last sync the same way. Pages that were
 * submitted once are never written again before the file is recycled: the offset only moves
 * forward, also after a failure, which ends the lane.
 *
 * Point of no return: once a group was handed to pwritev its LSN is used up. An error then, or of
 * any sync, poisons the lane; its tickets are never done. */
#include "engine/journal_int.h"

static const uint8_t zeros[JG_ALIGN];

static void jr_poison(struct jr *jr, const struct err *err)
{
    base_mutex_lock(&jr->mu);
    bool first = !atomic_load(&jr->poisoned);
    if (first) {
        jr->poison = *err;
        jr->q_first = NULL; /* tickets stay with their owners */
        jr->q_last = NULL;
        atomic_store(&jr->poisoned, true);
    }
    base_mutex_unlock(&jr->mu);
    if (!first) {
        return;
    }
    jr->lane.gathered = NULL;
    jr->lane.gathered_last = NULL;
    log_err("journal: the lane failed, nothing is acknowledged any more until a restart: %s",
            err->msg);
    if (jr->opts.doorbell != NULL) {
        jr->opts.doorbell(jr->opts.doorbell_arg);
    }
}

/* --- gather ----------------------------------------------------------------------------------- */

static uint64_t ticket_bytes(const struct jw_ticket *t)
{
    return t->index.len + t->rec_len + t->twins.len;
}

/* What may be gathered: 4 MiB, or less to fill up the current file rather than waste its end. */
static uint64_t gather_limit(const struct jr_lane *l)
{
    if (l->placing) {
        return LIM_JOURNAL_GATHER_PLACED_BYTES_MAX; /* little of it goes into the file */
    }
    uint64_t end = l->cur.h.size - JF_PAGE - JG_ALIGN;
    uint64_t room = end > l->off ? end - l->off : 0;
    uint64_t frames = 2 * JG_FRAME + JG_TWIN_ALIGN;
    if (room >= LIM_JOURNAL_CHUNK_BYTES + frames) {
        return u64_min(room - frames, LIM_JOURNAL_GATHER_BYTES_MAX);
    }
    return LIM_JOURNAL_GATHER_BYTES_MAX;
}

/* Moves tickets from the queue to the gathered list: at least one, if there is one. */
static void gather(struct jr *jr)
{
    struct jr_lane *l = &jr->lane;
    uint64_t limit = gather_limit(l);
    uint64_t bytes = 0;
    for (struct jw_ticket *t = l->gathered; t != NULL; t = t->lane_next) {
        bytes += ticket_bytes(t);
    }
    base_mutex_lock(&jr->mu);
    while (jr->q_first != NULL) {
        struct jw_ticket *t = jr->q_first;
        uint64_t more = ticket_bytes(t);
        if (l->gathered != NULL && bytes + more > limit) {
            break;
        }
        bytes += more;
        jr->q_first = t->lane_next;
        if (jr->q_first == NULL) {
            jr->q_last = NULL;
        }
        t->lane_next = NULL;
        if (l->gathered == NULL) {
            l->gathered = t;
        } else {
            l->gathered_last->lane_next = t;
        }
        l->gathered_last = t;
    }
    base_mutex_unlock(&jr->mu);
}

/* --- build ------------------------------------------------------------------------------------ */

static void iov_add(struct jr_lane *l, const void *p, size_t len)
{
    if (len == 0) {
        return;
    }
    if (l->iov_n > 0) {
        struct iovec *last = &l->iov[l->iov_n - 1];
        if ((const uint8_t *)last->iov_base + last->iov_len ==
            p) { /* tickets often adjoin in a chunk */
            last->iov_len += len;
            return;
        }
    }
    if (l->iov_n == l->iov_cap) {
        l->iov_cap = l->iov_cap == 0 ? 64 : l->iov_cap * 2;
        l->iov = base_realloc(l->iov, l->iov_cap * sizeof(*l->iov));
    }
    /* the disk only reads through it */
    union {
        const void *in;
        void *out;
    } u = {.in = p};
    l->iov[l->iov_n++] = (struct iovec){.iov_base = u.out, .iov_len = len};
}

struct group {
    struct jg_header h;
    uint64_t rec_len;
    uint64_t full_len; /* as the owner wrote them */
    uint8_t tail[JG_FRAME];
};

/* Sizes of the group that the gathered tickets make. */
static void group_size(const struct jr_lane *l, struct group *g)
{
    uint64_t index = 0;
    uint64_t twins = 0;
    g->rec_len = g->full_len = 0;
    for (const struct jw_ticket *t = l->gathered; t != NULL; t = t->lane_next) {
        index += t->index.len;
        twins += t->twins.len;
        g->rec_len += t->rec_len;
        g->full_len += t->full_len;
        g->h.nrec += t->nrec;
    }
    uint64_t body = index + g->rec_len;
    if (twins != 0) {
        body = align_up(JG_FRAME + body, JG_TWIN_ALIGN) - JG_FRAME + twins;
    }
    uint64_t total = align_up(body + 2 * JG_FRAME, JG_ALIGN);
    ASSERT(total <= UINT32_MAX);
    g->h.index_len = (uint32_t)index;
    g->h.twin_len = (uint32_t)twins;
    g->h.body_len = (uint32_t)body;
    g->h.total_len = (uint32_t)total;
}

/* The records of a range; in place of some, what was made for them. */
static void iov_range(struct jr_lane *l, const struct jw_range *r, size_t *bulk_at)
{
    const uint8_t *p = r->chunk->base + r->off, *end = p + r->len;
    for (const struct jr_bulk *b; (b = jr_placed_next(l, bulk_at, p, end)) != NULL;) {
        const uint8_t *rec = jr_bulk_rec(b);
        iov_add(l, p, (size_t)(rec - p));
        iov_add(l, l->subs.p + b->sub_at, b->sub_len);
        p = rec + b->room;
    }
    iov_add(l, p, (size_t)(end - p));
}

/* Lays the group out as a list of pieces: only header and index are copied. */
static void group_build(struct jr *jr, struct group *g, uint16_t flags)
{
    struct jr_lane *l = &jr->lane;
    struct jr_bytes *head = &l->head;
    uint32_t seed = l->cur.seed;
    head->len = 0;
    jr_bytes_reserve(head, JG_FRAME + g->h.index_len);
    head->len = JG_FRAME;
    for (const struct jw_ticket *t = l->gathered; t != NULL; t = t->lane_next) {
        if (t->index.len != 0) {
            memcpy(head->p + head->len, t->index.p, t->index.len);
            head->len += t->index.len;
        }
    }
    l->iov_n = 0;
    iov_add(l, head->p, head->len);
    size_t bulk_at = 0;
    for (const struct jw_ticket *t = l->gathered; t != NULL; t = t->lane_next) {
        for (size_t i = 0; i < t->nranges; i++) {
            iov_range(l, &t->ranges[i], &bulk_at);
        }
    }
    if (g->h.twin_len != 0) {
        iov_add(l, zeros, g->h.body_len - g->h.twin_len - g->h.index_len - g->rec_len);
        for (const struct jw_ticket *t = l->gathered; t != NULL; t = t->lane_next) {
            iov_add(l, t->twins.p, t->twins.len);
        }
    }
    uint32_t index_crc = crc32c(seed, head->p + JG_FRAME, g->h.index_len);
    uint32_t body_crc = index_crc;
    for (size_t i = 0; i < l->iov_n; i++) {
        size_t skip =
            i == 0 ? head->len : 0; /* counted, unless the allocator put a piece right behind it */
        const uint8_t *p = l->iov[i].iov_base;
        body_crc = crc32c(body_crc, p + skip, l->iov[i].iov_len - skip);
    }
    iov_add(l, zeros, g->h.total_len - JG_FRAME - JG_FRAME - g->h.body_len);

    g->h.lsn = l->cur.h.base_lsn + l->off;
    g->h.group_seq = l->group_seq + 1;
    g->h.durable_seq = l->durable_seq;
    g->h.body_crc = body_crc;
    g->h.prev_hdr_crc = l->prev_hdr_crc;
    g->h.flags = flags;
    g->h.wall_ns = atomic_load(&jr->wall_ns);
    g->h.meta_gen = atomic_load(&jr->meta_gen);
    g->h.index_crc = index_crc;
    jg_put(head->p, g->tail, &g->h, seed);
    iov_add(l, g->tail, JG_FRAME);
}

/* --- write, sync ------------------------------------------------------------------------------ */

/* All groups written so far are durable. */
static void synced(struct jr *jr, int64_t from_ns)
{
    struct jr_lane *l = &jr->lane;
    l->durable_seq = l->group_seq;
    l->unsynced = false;
    l->dirty = false;
    l->last_write_ns = env_boot_ns(jr->env);
    uint64_t took = (uint64_t)(l->last_write_ns - from_ns);
    atomic_store(&jr->durable_lsn, l->cur.h.base_lsn + l->off);
    base_mutex_lock(&jr->mu);
    jr->stats.syncs++;
    jr->stats.sync_ns_total += took;
    jr->stats.sync_ns_max = u64_max(jr->stats.sync_ns_max, took);
    base_mutex_unlock(&jr->mu);
}

static enum st lane_sync(struct jr *jr)
{
    struct jr_lane *l = &jr->lane;
    struct err err = {0};
    int64_t from = env_boot_ns(jr->env);
    enum st st = env_datasync(jr->env, l->cur.f, &err);
    if (st != ST_OK) {
        jr_poison(jr, &err);
        return ST_POISONED;
    }
    synced(jr, from);
    return ST_OK;
}

/* Writes the gathered tickets, or none, as one group; with `sync`, durably. */
static enum st lane_write(struct jr *jr, struct group *g, uint16_t flags, bool sync)
{
    struct jr_lane *l = &jr->lane;
    group_build(jr, g, flags);
    ASSERT(l->off + g->h.total_len <= l->cur.h.size - JF_PAGE);
    struct err err = {0};
    bool at_once = sync && !l->dirty; /* else a sync of its own has to cover more than this group */
    int64_t from = env_boot_ns(jr->env);
    enum st st = (at_once ? env_pwritev_sync : env_pwritev)(jr->env, l->cur.f, l->iov,
                                                            (int)l->iov_n, l->off, &err);
    if (st != ST_OK) {
        jr_poison(jr, &err);
        return ST_POISONED;
    }
    l->dirty = true;
    int64_t now = env_boot_ns(jr->env);
    if (l->off == JR_FIRST_OFF) {
        l->opened_ns = now;
    }
    if (!l->unsynced && flags != JG_IDLE) { /* an IDLE group waits for somebody else's sync */
        l->unsynced = true;
        l->unsynced_since_ns = now;
    }
    l->last_write_ns = now;
    l->off += g->h.total_len;
    l->group_seq = g->h.group_seq;
    l->recorded_durable = g->h.durable_seq;
    l->prev_hdr_crc = g->h.hdr_crc;
    atomic_store(&jr->end_lsn, l->cur.h.base_lsn + l->off);
    base_mutex_lock(&jr->mu);
    jr->stats.groups++;
    jr->stats.records += g->h.nrec;
    jr->stats.bytes_written += g->h.total_len;
    base_mutex_unlock(&jr->mu);
    if (at_once) {
        synced(jr, from);
        return ST_OK;
    }
    return sync ? lane_sync(jr) : ST_OK;
}

/* Tickets of the group just written become done. After the store the owner may reuse the ticket. */
static void publish(struct jr *jr, const struct group *g)
{
    struct jr_lane *l = &jr->lane;
    uint64_t lsn = g->h.lsn + JG_FRAME + g->h.index_len;
    struct jw_ticket *t = l->gathered;
    l->gathered = NULL;
    l->gathered_last = NULL;
    l->placed = false;
    atomic_fetch_sub(&jr->pending_bytes, g->full_len);
    while (t != NULL) {
        struct jw_ticket *next = t->lane_next;
        struct jw *jw = t->jw;
        t->rec_lsn = lsn;
        lsn += t->rec_len;
        ASSERT(jw_done(jw) + 1 == t->no);
        atomic_store_explicit(&jw->done, t->no, memory_order_release);
        t = next;
    }
    if (jr->opts.doorbell != NULL) {
        jr->opts.doorbell(jr->opts.doorbell_arg);
    }
}

static bool wants_sync(const struct jr *jr)
{
    bool sync = jr->opts.sync_interval_ns <= 0;
    for (const struct jw_ticket *t = jr->lane.gathered; t != NULL && !sync; t = t->lane_next) {
        sync = t->sync;
    }
    return sync;
}

/* --- rotation --------------------------------------------------------------------------------- */

static bool fits(const struct jr_lane *l, uint64_t total)
{
    return l->off + total <= l->cur.h.size - JF_PAGE - JG_ALIGN;
}

/* Takes the next file if there is one that holds `total`; else asks for it and returns false. */
static bool take_next(struct jr *jr, uint64_t total, struct jr_file *next_out)
{
    base_mutex_lock(&jr->mu);
    bool ok = jr->next_ready && JR_FILE_ROOM(jr->next.h.size) >= total;
    if (ok) {
        *next_out = jr->next;
        jr->next_ready = false;
        jr->cur_info = jr->next; /* from here on the preparer makes the one behind it */
        jr->cur_info.f = NULL;
        jr->lane_waiting = false;
        jr->want_bytes = 0;
    } else {
        jr->want_bytes = align_up(total + JF_OVERHEAD + JG_ALIGN, JF_PAGE);
        jr->lane_waiting = true;
        if (!jr->tasks_down) {
            env_task_wake(jr->env, jr->prep_task);
        }
    }
    base_mutex_unlock(&jr->mu);
    return ok;
}

static void switch_file(struct jr *jr, const struct jr_file *next, bool fast)
{
    struct jr_lane *l = &jr->lane;
    env_close(jr->env, l->cur.f);
    l->cur.f = NULL;
    base_mutex_lock(&jr->mu);
    jr_files_add(&jr->files, &l->cur);
    uint64_t first = next->h.base_lsn + JR_FIRST_OFF;
    jr_hole_add(jr, first, first - l->cur.h.base_lsn - l->off);
    l->cur = *next;
    l->off = JR_FIRST_OFF;
    /* A file of its own for a large group says nothing about the load. */
    uint64_t size = u64_min(jr->cur_info.h.size, jr->opts.file_max_bytes);
    jr->grow_bytes = u64_max(jr->grow_bytes, fast ? u64_min(size * 2, jr->opts.file_max_bytes) : 0);
    if (!jr->tasks_down) {
        env_task_wake(jr->env, jr->prep_task);
    }
    base_mutex_unlock(&jr->mu);
    atomic_store(&jr->end_lsn, l->cur.h.base_lsn + l->off);
}

enum { ROTATE_FAST_S = 10 }; /* a file that fills sooner than this is followed by a larger one */

/* ROTATE is durable before the first group of the next file is issued; and the next file is durable
 * before ROTATE. */
static enum st rotate(struct jr *jr, uint64_t total)
{
    struct jr_lane *l = &jr->lane;
    struct jr_file next;
    if (!take_next(jr, total, &next)) {
        l->waiting = l->gathered != NULL;
        return ST_AGAIN;
    }
    l->waiting = false;
    struct jw_ticket *held = l->gathered;
    struct jw_ticket *held_last = l->gathered_last;
    l->gathered = NULL;
    struct group g = {0};
    group_size(l, &g);
    bool fast =
        l->off > JR_FIRST_OFF && env_boot_ns(jr->env) - l->opened_ns < ROTATE_FAST_S * NS_PER_S;
    enum st st = lane_write(jr, &g, JG_ROTATE, true);
    if (st != ST_OK) {
        env_close(jr->env, next.f);
        return st;
    }
    l->gathered = held;
    l->gathered_last = held_last;
    switch_file(jr, &next, fast);
    return ST_OK;
}

/* --- the step --------------------------------------------------------------------------------- */

/* Writes what is gathered. ST_AGAIN: waits for a file; the preparer wakes us. */
static enum st write_gathered(struct jr *jr)
{
    struct jr_lane *l = &jr->lane;
    struct group g = {0};
    if (!l->placed) {
        jr_place(jr);
    }
    group_size(l, &g);
    if (!fits(l, g.h.total_len)) {
        enum st st = rotate(jr, g.h.total_len);
        if (st != ST_OK) {
            return st;
        }
        ASSERT(fits(l, g.h.total_len));
    }
    enum st st = lane_write(jr, &g, 0, wants_sync(jr));
    if (st == ST_OK) {
        publish(jr, &g);
    }
    return st;
}

static enum st write_idle(struct jr *jr)
{
    struct group g = {0};
    group_size(&jr->lane, &g);
    if (!fits(&jr->lane, g.h.total_len)) {
        return rotate(jr, JG_ALIGN); /* ROTATE says the same, in the place kept for it */
    }
    return lane_write(jr, &g, JG_IDLE, false);
}

/* Nothing to write: timers. Returns how long to rest. */
static uint64_t lane_rest(struct jr *jr)
{
    struct jr_lane *l = &jr->lane;
    int64_t now = env_boot_ns(jr->env);
    uint64_t rest = ENV_STEP_IDLE;
    if (jr->opts.sync_interval_ns > 0 && l->unsynced) {
        int64_t at = l->unsynced_since_ns + jr->opts.sync_interval_ns;
        if (now >= at) {
            return lane_sync(jr) == ST_OK ? ENV_STEP_AGAIN : ENV_STEP_IDLE;
        }
        rest = (uint64_t)(at - now);
    }
    if (l->recorded_durable < l->durable_seq) {
        int64_t at = l->last_write_ns + (int64_t)LIM_JOURNAL_IDLE_NS;
        if (now >= at) {
            enum st st = write_idle(jr);
            return st == ST_OK ? ENV_STEP_AGAIN : ENV_STEP_IDLE;
        }
        rest = u64_min(rest, (uint64_t)(at - now));
    }
    return rest;
}

uint64_t jr_lane_step(void *arg)
{
    struct jr *jr = arg;
    struct jr_lane *l = &jr->lane;
    if (atomic_load(&jr->poisoned)) {
        return ENV_STEP_IDLE;
    }
    if (atomic_exchange(&jr->want_sync, false) && l->unsynced) {
        if (lane_sync(jr) != ST_OK) {
            return ENV_STEP_IDLE;
        }
        if (jr->opts.doorbell != NULL) {
            jr->opts.doorbell(jr->opts.doorbell_arg);
        }
        return ENV_STEP_AGAIN;
    }
    if (!l->waiting) { /* else the file asked for may be too small for more */
        gather(jr);
    }
    if (l->gathered == NULL) {
        return lane_rest(jr);
    }
    /* A relaxed stream's timer runs while others keep the lane busy. */
    if (l->unsynced && jr->opts.sync_interval_ns > 0 &&
        env_boot_ns(jr->env) >= l->unsynced_since_ns + jr->opts.sync_interval_ns &&
        lane_sync(jr) != ST_OK) {
        return ENV_STEP_IDLE;
    }
    return write_gathered(jr) == ST_OK ? ENV_STEP_AGAIN : ENV_STEP_IDLE;
}

enum st jr_lane_shutdown(struct jr *jr)
{
    struct jr_lane *l = &jr->lane;
    ASSERT(l->gathered == NULL);
    /* Synced before, so that SHUTDOWN, once it is there, proves all that lies before it. */
    if (l->durable_seq < l->group_seq && l->unsynced) {
        enum st st = lane_sync(jr);
        if (st != ST_OK) {
            return st;
        }
    }
    struct group g = {0};
    group_size(l, &g);
    return lane_write(jr, &g, JG_SHUTDOWN, true);
}
