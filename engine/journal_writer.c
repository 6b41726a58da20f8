/* Owner's side of the journal: records into chunks, tickets to the lane (journal.h).
 *
 * A ticket is a list of ranges of chunks, the index entries of the streams it touches, and copies
 * of records that want a twin. Sealing closes the ticket, not the chunk: the next record goes on
 * behind it, so a lone publisher fills a chunk with many tickets. Bytes of a sealed range never
 * change again.
 *
 * Runs on the owner's thread. Only `done` and the lane's queue are shared: a ticket belongs to the
 * lane from seal until jw.done reaches its number, and the lane does not touch it after that. */
#include "engine/journal_int.h"

#define TICKETS_KEPT 64u           /* free tickets of a writer */
#define TICKET_BUF_KEPT (64 * KIB) /* larger buffers of a free ticket are given back */
#define REC_ROUND(len) ((size_t)align_up((len), REC_ALIGN))

enum st jw_create(struct jr *jr, struct jw **jw_out, struct err *err)
{
    (void)err;
    struct jw *jw = base_calloc(1, sizeof(*jw));
    jw->jr = jr;
    jw->open_no = 1;
    jw->hash_cap = 64;
    jw->hash = base_calloc(jw->hash_cap, sizeof(*jw->hash));
    atomic_init(&jw->done, 0);
    *jw_out = jw;
    return ST_OK;
}

/* --- tickets ---------------------------------------------------------------------------------- */

static void ticket_release_chunks(struct jw_ticket *t)
{
    for (size_t i = 0; i < t->nranges; i++) {
        jr_chunk_release(t->ranges[i].chunk);
    }
    t->nranges = 0;
}

static void ticket_free(struct jw_ticket *t)
{
    ticket_release_chunks(t);
    for (size_t i = 0; i < t->slots_cap; i++) {
        seq_runs_fini(&t->slots[i].removed);
    }
    base_free(t->ranges);
    base_free(t->bulk);
    base_free(t->slots);
    base_free(t->index.p);
    base_free(t->twins.p);
    base_free(t);
}

static void bytes_trim(struct jr_bytes *b)
{
    b->len = 0;
    if (b->cap > TICKET_BUF_KEPT) {
        base_free(b->p);
        *b = (struct jr_bytes){0};
    }
}

static void ticket_recycle(struct jw *jw, struct jw_ticket *t)
{
    if (jw->nspare >= TICKETS_KEPT || t->slots_cap * sizeof(*t->slots) > TICKET_BUF_KEPT) {
        ticket_free(t);
        return;
    }
    ticket_release_chunks(t);
    for (size_t i = 0; i < t->nslots; i++) {
        seq_runs_fini(&t->slots[i].removed);
    }
    bytes_trim(&t->index);
    bytes_trim(&t->twins);
    t->nslots = 0;
    t->nrec = 0;
    t->rec_len = t->full_len = 0;
    t->nbulk = 0;
    t->sync = false;
    t->owner_next = jw->spare;
    jw->spare = t;
    jw->nspare++;
}

static struct jw_ticket *ticket_open(struct jw *jw)
{
    if (jw->open != NULL) {
        return jw->open;
    }
    struct jw_ticket *t = jw->spare;
    if (t != NULL) {
        jw->spare = t->owner_next;
        jw->nspare--;
    } else {
        t = base_calloc(1, sizeof(*t));
        t->jw = jw;
    }
    t->no = jw->open_no;
    t->owner_next = NULL;
    t->lane_next = NULL;
    jw->open = t;
    return t;
}

void jw_destroy(struct jw *jw)
{
    if (jw == NULL) {
        return;
    }
    if (jw->first != NULL && !atomic_load(&jw->jr->poisoned)) {
        jr_halt(
            jw->jr); /* the lane may have our tickets; after this it never looks at them again */
    }
    for (struct jw_ticket *t = jw->first, *next; t != NULL; t = next) {
        next = t->owner_next;
        ticket_free(t);
    }
    for (struct jw_ticket *t = jw->spare, *next; t != NULL; t = next) {
        next = t->owner_next;
        ticket_free(t);
    }
    if (jw->open != NULL) {
        ticket_free(jw->open);
    }
    if (jw->chunk != NULL) {
        jr_chunk_release(jw->chunk);
    }
    base_free(jw->hash);
    base_free(jw);
}

/* --- reserve ---------------------------------------------------------------------------------- */

static enum st admit(const struct jr *jr, uint64_t len, bool urgent)
{
    if (atomic_load_explicit(&jr->poisoned, memory_order_relaxed)) {
        return ST_POISONED;
    }
    uint64_t end = atomic_load_explicit(&jr->end_lsn, memory_order_relaxed);
    uint64_t from = atomic_load_explicit(&jr->checkpoint_lsn, memory_order_relaxed);
    uint64_t holes = atomic_load_explicit(&jr->hole_bytes, memory_order_relaxed);
    uint64_t used = end > from + holes ? end - from - holes : 0;
    used += atomic_load_explicit(&jr->pending_bytes, memory_order_relaxed);
    used += atomic_load_explicit(&jr->placed_bytes, memory_order_relaxed);
    uint64_t window = jr->opts.window_bytes;
    /* Urgent records are never refused: a store that was killed with a full window (and each
     * recovery begins a new file) must open, and what they remove is what makes room. They are
     * bounded by what there is to delete, ack and drop. */
    bool large = len > LIM_JOURNAL_LARGE_BYTES && used > window / 100 * LIM_JOURNAL_LARGE_PERCENT;
    if (!urgent && (large || used + len > window / 100 * LIM_JOURNAL_STOP_PERCENT)) {
        return ST_FULL;
    }
    if (!urgent && atomic_load_explicit(&jr->no_space, memory_order_relaxed)) {
        return ST_FULL;
    }
    return ST_OK;
}

enum st jw_room(const struct jw *jw, uint64_t bytes, bool urgent)
{
    return admit(jw->jr, bytes, urgent);
}

static bool chunk_room(struct jw *jw, size_t need)
{
    if (jw->chunk != NULL && jw->chunk->cap - jw->chunk->used >= need) {
        return true;
    }
    size_t cap =
        need > LIM_JOURNAL_LARGE_BYTES ? LIM_JOURNAL_LARGE_CHUNK_BYTES : LIM_JOURNAL_CHUNK_BYTES;
    struct jr_chunk *c = jr_chunk_create(jw->jr, need > cap ? need : cap);
    if (c == NULL) {
        return false;
    }
    if (jw->chunk != NULL) {
        jr_chunk_release(jw->chunk);
    }
    jw->chunk = c;
    return true;
}

enum st jw_reserve(struct jw *jw, size_t len, bool urgent, uint8_t **p_out,
                   struct jr_chunk **chunk_out, uint32_t *off_out)
{
    ASSERT(jw->reserved == NULL);
    ASSERT(len >= REC_HEAD_SIZE && len <= UINT32_MAX / 2);
    size_t need = REC_ROUND(len);
    enum st st = admit(jw->jr, need, urgent);
    if (st != ST_OK) {
        return st;
    }
    if (jw->open != NULL && jw->open->rec_len + need > JR_TICKET_BYTES_MAX) {
        jw_seal(jw);
    }
    if (!chunk_room(jw, need)) {
        return ST_NOMEM;
    }
    jw->reserved = jw->chunk->base + jw->chunk->used;
    jw->reserved_len = need;
    *p_out = jw->reserved;
    *chunk_out = jw->chunk;
    *off_out = (uint32_t)jw->chunk->used;
    return ST_OK;
}

/* --- commit ----------------------------------------------------------------------------------- */

static void range_add(struct jw_ticket *t, struct jr_chunk *c, size_t off, size_t len)
{
    if (t->nranges > 0) {
        struct jw_range *last = &t->ranges[t->nranges - 1];
        if (last->chunk == c && (size_t)last->off + last->len == off) {
            last->len += (uint32_t)len;
            return;
        }
    }
    if (t->nranges == t->ranges_cap) {
        t->ranges_cap = t->ranges_cap == 0 ? 2 : t->ranges_cap * 2;
        t->ranges = base_realloc(t->ranges, t->ranges_cap * sizeof(*t->ranges));
    }
    jr_chunk_acquire(c);
    t->ranges[t->nranges++] =
        (struct jw_range){.chunk = c, .off = (uint32_t)off, .len = (uint32_t)len};
}

static struct jw_hash *hash_find(struct jw *jw, uint64_t ticket, uint32_t gid)
{
    size_t i = (gid * 2654435761u) & (jw->hash_cap - 1);
    while (jw->hash[i].ticket == ticket && jw->hash[i].gid != gid) {
        i = (i + 1) & (jw->hash_cap - 1);
    }
    return &jw->hash[i];
}

static void hash_grow(struct jw *jw, const struct jw_ticket *t)
{
    base_free(jw->hash);
    jw->hash_cap *= 2;
    jw->hash = base_calloc(jw->hash_cap, sizeof(*jw->hash));
    for (size_t i = 0; i < t->nslots; i++) {
        *hash_find(jw, t->no, t->slots[i].e.gid) =
            (struct jw_hash){.ticket = t->no, .gid = t->slots[i].e.gid, .slot = (uint32_t)i};
    }
}

static struct jw_slot *slot_new(struct jw_ticket *t)
{
    if (t->nslots == t->slots_cap) {
        size_t old = t->slots_cap;
        t->slots_cap = old == 0 ? 1 : old * 2;
        t->slots = base_realloc(t->slots, t->slots_cap * sizeof(*t->slots));
        memset(t->slots + old, 0, (t->slots_cap - old) * sizeof(*t->slots));
    }
    struct jw_slot *s = &t->slots[t->nslots++];
    *s = (struct jw_slot){0};
    return s;
}

/* The slot of r's gid in the open ticket; most tickets of a busy stream hit the last one. */
static struct jw_slot *slot_of(struct jw *jw, struct jw_ticket *t, const struct jw_rec *r)
{
    if (t->nslots > 0 && t->slots[t->nslots - 1].e.gid == r->gid) {
        return &t->slots[t->nslots - 1];
    }
    struct jw_hash *h = hash_find(jw, t->no, r->gid);
    if (h->ticket == t->no) {
        return &t->slots[h->slot];
    }
    struct jw_slot *s = slot_new(t);
    s->e = (struct jr_entry){.user = r->user, .gid = r->gid, .first_oseq = r->oseq};
    s->first_off = t->rec_len;
    *h = (struct jw_hash){.ticket = t->no, .gid = r->gid, .slot = (uint32_t)(t->nslots - 1)};
    if (t->nslots * 2 > jw->hash_cap) {
        hash_grow(jw, t);
    }
    return s;
}

static uint32_t index_flags(uint32_t before, const struct jw_rec *r)
{
    uint32_t flags = before & ~(uint32_t)JI_OPEN;
    bool removing = r->type == REC_DELETE || r->type == REC_PURGE || r->type == REC_FLOOR;
    if (removing || (r->removed != NULL && r->removed->n != 0)) {
        flags |= JI_REMOVES;
    }
    if (r->type == REC_CFG || r->type == REC_DROP) {
        flags |= JI_CONFIG;
    }
    if (r->type == REC_RAFT_HARD) {
        flags |= JI_HARD;
    }
    if ((r->flags & REC_BATCH_MORE) != 0) {
        flags |= JI_BATCH | JI_OPEN;
    }
    return flags;
}

static void slot_update(struct jw_slot *s, const struct jw_rec *r, uint64_t off)
{
    ASSERT(r->oseq ==
           s->e.first_oseq +
               s->e.nrec); /* +1 for each record of a gid: recovery's range check needs it */
    s->e.nrec++;
    s->e.user = r->user;
    s->e.last_seq = r->last_seq;
    s->e.floor = r->floor;
    s->last_off = off;
    s->flags = index_flags(s->flags, r);
    if (r->removed != NULL) {
        for (size_t i = 0; i < r->removed->n; i++) {
            seq_runs_add_run(&s->removed, r->removed->v[i].first, r->removed->v[i].count);
        }
    }
}

static void bulk_add(struct jw_ticket *t, void *who, const uint8_t *p, size_t len, size_t room)
{
    if (t->nbulk == t->bulk_cap) {
        t->bulk_cap = t->bulk_cap == 0 ? 16 : t->bulk_cap * 2;
        t->bulk = base_realloc(t->bulk, t->bulk_cap * sizeof(*t->bulk));
    }
    size_t at = REC_HEAD_SIZE + rec_ext_len(p);
    t->bulk[t->nbulk++] = (struct jr_bulk){
        .who = who,
        .msg = p + at,
        .len = (uint32_t)(len - at),
        .ticket = t,
        .off = t->rec_len,
        .head = (uint32_t)at,
        .room = (uint32_t)room,
    };
}

static void twin_add(struct jw_ticket *t, const uint8_t *p, size_t len, uint8_t flags,
                     uint32_t crc_seed)
{
    size_t room = REC_ROUND(len);
    jr_bytes_reserve(&t->twins, room);
    uint8_t *out = t->twins.p + t->twins.len;
    memcpy(out, p, len);
    memset(out + len, 0, room - len);
    rec_reflag(out, (uint8_t)((flags & ~REC_HAS_TWIN) | REC_IS_TWIN), crc_seed);
    t->twins.len += room;
}

uint64_t jw_commit(struct jw *jw, const struct jw_rec *r, size_t len)
{
    uint8_t *p = jw->reserved;
    size_t room = REC_ROUND(len);
    ASSERT(p != NULL);
    ASSERT(room <= jw->reserved_len);
    ASSERT(get_u32le(p + 4) == len && p[8] == r->type && p[9] == r->flags);
    memset(p + len, 0, room - len);

    struct jw_ticket *t = ticket_open(jw);
    uint64_t off = t->rec_len;
    slot_update(slot_of(jw, t, r), r, off);
    range_add(t, jw->chunk, jw->chunk->used, room);
    if ((r->flags & REC_HAS_TWIN) != 0) {
        twin_add(t, p, len, r->flags, jw->jr->opts.crc_seed);
    }
    if (r->bulk != NULL) {
        bulk_add(t, r->bulk, p, len, room);
    }
    t->rec_len += room;
    t->full_len += room;
    t->nrec++;
    t->sync |= r->sync;
    jw->chunk->used += room;
    jw->reserved = NULL;
    atomic_fetch_add_explicit(&jw->jr->pending_bytes, room, memory_order_relaxed);
    return t->no;
}

/* --- seal, done ------------------------------------------------------------------------------- */

static void index_build(struct jw_ticket *t)
{
    t->index.len = 0;
    for (size_t i = 0; i < t->nslots; i++) {
        struct jw_slot *s = &t->slots[i];
        struct ji_entry e = {.gid = s->e.gid,
                             .nrec = s->e.nrec,
                             .flags = s->flags,
                             .first_oseq = s->e.first_oseq,
                             .last_seq = s->e.last_seq,
                             .floor = s->e.floor};
        size_t size = ji_size(&s->removed);
        jr_bytes_reserve(&t->index, size);
        ji_put(t->index.p + t->index.len, size, &e, &s->removed);
        t->index.len += size;
    }
}

void jw_seal(struct jw *jw)
{
    struct jw_ticket *t = jw->open;
    struct jr *jr = jw->jr;
    ASSERT(jw->reserved == NULL);
    if (t == NULL) {
        return;
    }
    index_build(t);
    jw->open = NULL;
    jw->open_no++;
    if (jw->last != NULL) {
        jw->last->owner_next = t;
    } else {
        jw->first = t;
    }
    jw->last = t;

    bool wake = false;
    base_mutex_lock(&jr->mu);
    if (!atomic_load(&jr->poisoned)) {        /* else it stays with the owner, never done */
        bool was_empty = jr->q_first == NULL; /* else the lane is on its way already */
        if (was_empty) {
            jr->q_first = t;
        } else {
            jr->q_last->lane_next = t;
        }
        jr->q_last = t;
        wake = was_empty && !jr->tasks_down && jr->lane_task != NULL;
    }
    base_mutex_unlock(&jr->mu);
    if (wake) { /* tasks stop on the owner's thread, this one, so the task is still there */
        env_task_wake(jr->env, jr->lane_task);
    }
}

uint64_t jw_done(const struct jw *jw)
{
    return atomic_load_explicit(&jw->done, memory_order_acquire);
}

uint64_t jw_open_ticket(const struct jw *jw)
{
    return jw->open_no;
}

uint64_t jw_poll(struct jw *jw, jw_entry_fn fn, void *arg)
{
    ASSERT(jw->polling == NULL);
    uint64_t done = jw_done(jw);
    while (jw->first != NULL && jw->first->no <= done) {
        struct jw_ticket *t = jw->first;
        jw->first = t->owner_next;
        if (jw->first == NULL) {
            jw->last = NULL;
        }
        jw->polling = t;
        for (size_t i = 0; i < t->nslots; i++) {
            struct jr_entry *e = &t->slots[i].e;
            e->first_lsn = t->rec_lsn + t->slots[i].first_off;
            e->last_lsn = t->rec_lsn + t->slots[i].last_off;
            if (e->user != NULL) { /* fn may commit, seal, and forget */
                fn(arg, t->no, e);
            }
        }
        jw->polling = NULL;
        ticket_recycle(jw, t);
    }
    return done;
}

static void ticket_forget(struct jw_ticket *t, const void *user)
{
    for (size_t i = 0; t != NULL && i < t->nslots; i++) {
        if (t->slots[i].e.user == user) {
            t->slots[i].e.user = NULL;
        }
    }
}

void jw_forget(struct jw *jw, void *user)
{
    ticket_forget(jw->open, user);
    ticket_forget(jw->polling, user);
    for (struct jw_ticket *t = jw->first; t != NULL; t = t->owner_next) {
        ticket_forget(t, user);
    }
}
