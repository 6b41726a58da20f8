/* Salvage: what can be saved of a group that was durable and does not verify (RULES.md).
 *
 * Records are taken one by one. A bad one is stepped over by trying each 8 B for a record whose CRC
 * fits and whose (gid, oseq) lies in the group's index: a record of the file's earlier life, there
 * because a sector was never written, fails that. What is then missing is said by the index (last
 * sequence, floor, removals) and replaced by twins.
 *
 * A bad index alone loses nothing: body_crc goes on from index_crc, so the rest of the body proves
 * itself. With both bad only records count that go on where the index last left their gid. The CRC
 * is seeded with a secret of the store, so no payload can pose as a record; but payloads can make
 * the search slow, so it has a budget. */
#include <stdlib.h>

#include "engine/journal_read.h"

#define BUDGET_FACTOR 64u /* bytes that may be summed, per byte of the group */

/* One record that the group should hold, or did. */
struct slot {
    uint32_t off; /* in the group; 0 = not found */
    uint32_t gid;
    uint64_t oseq;
    uint64_t seq; /* APPEND: its sequence */
    bool twin;
    bool bad;     /* APPEND whose content does not verify */
    uint8_t hint; /* missing: the type that its damaged header names, or 0 */
};
struct group {
    struct jr_rd *rd;
    const struct jg_header *h;
    const uint8_t *p;
    size_t rec_at, rec_end, twin_at, twin_end;
    struct ji_entry *entries; /* in index order */
    size_t *first;            /* slot of the entry's first record */
    size_t *by_gid;           /* entries sorted by (gid, first_oseq) */
    size_t nentries;
    struct slot *slots;
    size_t nslots;
    size_t nprimary; /* without an index: slots found before the twins, sorted */
    uint64_t budget;
    bool indexed; /* the index is good */
    bool rest_ok; /* all of the body behind the index is */
    bool lost;    /* some record is gone for good */
    bool reported;
};

/* --- index ------------------------------------------------------------------------------------ */

static _Thread_local const struct group *sorting; /* qsort has no argument */

static int cmp_entries(const void *a, const void *b)
{
    const struct ji_entry *x = &sorting->entries[*(const size_t *)a];
    const struct ji_entry *y = &sorting->entries[*(const size_t *)b];
    if (x->gid != y->gid) {
        return x->gid < y->gid ? -1 : 1;
    }
    return x->first_oseq < y->first_oseq ? -1 : x->first_oseq > y->first_oseq;
}

static bool index_load(struct group *g)
{
    const struct jg_header *h = g->h;
    const uint8_t *p = g->p + JG_FRAME;
    if (crc32c(rd_file(g->rd, g->rd->fi)->seed, p, h->index_len) != h->index_crc) {
        return false;
    }
    size_t cap = h->index_len / JI_HEAD + 1;
    g->entries = base_calloc(cap, sizeof(*g->entries));
    g->first = base_calloc(cap, sizeof(*g->first));
    g->by_gid = base_calloc(cap, sizeof(*g->by_gid));
    uint64_t sum = 0;
    for (size_t at = 0; at < h->index_len;) {
        struct ji_entry *e = &g->entries[g->nentries];
        if (ji_get(p + at, h->index_len - at, e) != ST_OK || sum + e->nrec > h->nrec ||
            e->first_oseq > UINT64_MAX - e->nrec) {
            return false;
        }
        g->by_gid[g->nentries] = g->nentries;
        g->first[g->nentries++] = (size_t)sum;
        sum += e->nrec;
        at += e->entry_len;
    }
    if (sum != h->nrec) {
        return false;
    }
    sorting = g;
    qsort(g->by_gid, g->nentries, sizeof(*g->by_gid), cmp_entries);
    sorting = NULL;
    return true;
}

/* The slot that the index has for (gid, low half of oseq), or NULL. */
static struct slot *index_slot(struct group *g, uint32_t gid, uint32_t oseq)
{
    size_t lo = 0;
    size_t hi = g->nentries;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (g->entries[g->by_gid[mid]].gid < gid) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    for (; lo < g->nentries && g->entries[g->by_gid[lo]].gid == gid; lo++) {
        size_t i = g->by_gid[lo];
        uint32_t d = oseq - (uint32_t)g->entries[i].first_oseq;
        if (d < g->entries[i].nrec) {
            return &g->slots[g->first[i] + d];
        }
    }
    return NULL;
}

/* --- the search ------------------------------------------------------------------------------- */

static int cmp_slots(const void *a, const void *b)
{
    const struct slot *x = a;
    const struct slot *y = b;
    if (x->gid != y->gid) {
        return x->gid < y->gid ? -1 : 1;
    }
    int32_t d = (int32_t)((uint32_t)x->oseq - (uint32_t)y->oseq);
    return d < 0 ? -1 : d > 0;
}

/* Without an index, and with other damage: whether the record goes on where the index last left its
 * gid. */
static bool goes_on(struct group *g, uint32_t gid, uint32_t oseq)
{
    const struct jr_chain *c = rd_chain(g->rd, gid);
    return c != NULL && oseq - (uint32_t)c->next_oseq < g->h->nrec;
}

/* Without an index slots are appended, and sorted once before the twins come. */
static struct slot *free_slot(struct group *g, uint32_t gid, uint32_t oseq, bool twin)
{
    if (!g->rest_ok && !goes_on(g, gid, oseq)) {
        return NULL;
    }
    struct slot key = {.gid = gid, .oseq = oseq};
    struct slot *s = twin ? bsearch(&key, g->slots, g->nprimary, sizeof(key), cmp_slots) : NULL;
    if (s != NULL || g->nslots >= g->h->nrec) {
        return s;
    }
    s = &g->slots[g->nslots++];
    *s = key;
    return s;
}

static struct slot *slot_for(struct group *g, uint32_t gid, uint32_t oseq, bool twin)
{
    return g->indexed ? index_slot(g, gid, oseq) : free_slot(g, gid, oseq, twin);
}

static void take(struct group *g, size_t at, const struct rec *r, bool twins)
{
    struct slot *s = slot_for(g, r->gid, r->oseq, twins);
    if (s == NULL || (s->off != 0 && !(s->bad && twins))) {
        return; /* not of this group, or there already */
    }
    s->off = (uint32_t)at;
    s->twin = twins;
    s->bad = false;
    if (r->type == REC_APPEND) {
        s->bad = !msg_body_ok(r->body, r->body_len, g->rd->opts->crc_seed, &s->seq);
    }
}

/* Whether a record may start at p, before its CRC is paid for. */
static bool plausible(struct group *g, const uint8_t *p, size_t room)
{
    uint32_t len = get_u32le(p + 4);
    if (len < REC_HEAD_SIZE || len > room || p[8] > REC_RAFT_SNAP) {
        return false;
    }
    return !g->indexed || index_slot(g, get_u32le(p + 12), get_u32le(p + 20)) != NULL;
}

static enum st search(struct group *g, size_t at, size_t end, bool twins)
{
    bool in_step = true; /* the last record was good, so one should start here */
    while (at + REC_HEAD_SIZE <= end) {
        const uint8_t *p = g->p + at;
        struct rec r;
        enum st st = ST_CORRUPT;
        if (plausible(g, p, end - at) && g->budget > 0) {
            uint64_t cost = p[8] == REC_APPEND ? 64 : get_u32le(p + 4);
            g->budget -= u64_min(g->budget, cost);
            st = rec_get(p, end - at, g->rd->opts->crc_seed, &r);
        }
        if (st == ST_UNSUPPORTED) {
            return err_set(g->rd->err, ST_UNSUPPORTED, 0,
                           "journal: group at lsn %llu holds a record this version does not serve",
                           (unsigned long long)g->h->lsn);
        }
        if (st == ST_OK && ((r.flags & REC_IS_TWIN) != 0) == twins) {
            take(g, at, &r, twins);
            at += (size_t)align_up(r.len, REC_ALIGN);
            in_step = true;
            continue;
        }
        if (in_step && g->indexed &&
            !twins) { /* what the damaged header still says helps to tell what was lost */
            struct slot *s = index_slot(g, get_u32le(p + 12), get_u32le(p + 20));
            if (s != NULL && s->off == 0) {
                s->hint = p[8];
            }
        }
        in_step = false;
        at += REC_ALIGN;
    }
    return ST_OK;
}

/* --- delivery --------------------------------------------------------------------------------- */

/* A twin counts as standing where its record stood: behind the record of its gid before it. */
static uint64_t slot_lsn(const struct group *g, const struct slot *s, uint64_t before)
{
    return s->twin ? before + REC_ALIGN : g->h->lsn + s->off;
}

static enum st give(struct group *g, const struct slot *s, uint64_t lsn)
{
    const uint8_t *p = g->p + s->off;
    size_t room = JG_FRAME + g->h->body_len - s->off;
    struct rec r;
    enum st st = rec_get(p, room, g->rd->opts->crc_seed, &r);
    if (st != ST_OK) {
        return err_set(g->rd->err, ST_INTERNAL, 0, "journal: a record changed while it was read");
    }
    if (g->rd->report != NULL) {
        g->rd->report->records++;
    }
    return rd_record(g->rd, lsn, &r, p, room, g->h->wall_ns);
}

static bool below_checkpoint(const struct group *g)
{
    return g->h->lsn + g->h->total_len <= g->rd->from_lsn;
}

/* Sequences of a run of missing records [i, j) of entry e: between the appends around it. */
static void missing_range(struct group *g, const struct ji_entry *e, const struct slot *s, size_t i,
                          size_t j, uint64_t *lo, uint64_t *hi)
{
    const struct jr_chain *c = rd_chain(g->rd, e->gid);
    uint64_t before = c != NULL ? c->last_seq : 0;
    uint64_t after = 0;
    for (size_t k = 0; k < i; k++) {
        before = s[k].seq != 0 ? s[k].seq : before;
    }
    for (size_t k = j; k < e->nrec && after == 0; k++) {
        after = s[k].seq;
    }
    *hi = after != 0 ? after - 1 : e->last_seq;
    uint64_t guess = *hi >= j - i ? *hi - (j - i) + 1 : 1;
    *lo = before != 0 ? before + 1 : guess;
    if (*lo > *hi) {
        *lo = 0;
        *hi = 0;
    }
}

static bool index_serves(uint8_t type)
{
    return type == REC_DELETE || type == REC_FLOOR || type == REC_SKIP || type == REC_PAD;
}

static void report_missing(struct group *g, const struct ji_entry *e, const struct slot *s,
                           size_t i, size_t j)
{
    uint64_t lo;
    uint64_t hi;
    missing_range(g, e, s, i, j, &lo, &hi);
    bool served = lo == 0;
    for (size_t k = i; k < j; k++) {
        served = served && s[k].hint != REC_PAD && index_serves(s[k].hint);
    }
    rd_damage(g->rd, JR_DAMAGE_RECORD, e->gid, lo, hi, !served,
              "%zu records of the group at lsn %llu are unreadable", j - i,
              (unsigned long long)g->h->lsn);
    g->lost |= !served;
    g->reported = true;
}

static void claim(struct group *g, const struct ji_entry *e)
{
    struct seq_runs removed = {0};
    size_t used;
    if (e->runs != NULL && seq_runs_get(e->runs, e->runs_len, &used, &removed) != ST_OK) {
        seq_runs_clear(&removed);
    }
    if (g->rd->v->claim != NULL) {
        g->rd->v->claim(g->rd->v->arg, e->gid, e->last_seq, e->floor, &removed);
    }
    seq_runs_fini(&removed);
}

static enum st deliver_entry(struct group *g, size_t ei)
{
    const struct ji_entry *e = &g->entries[ei];
    const struct slot *s = &g->slots[g->first[ei]];
    uint64_t before = g->h->lsn + g->rec_at - REC_ALIGN;
    size_t missing_from = e->nrec;
    bool incomplete = false;
    for (size_t i = 0; i < e->nrec; i++) {
        if (s[i].off == 0) {
            missing_from = missing_from == e->nrec ? i : missing_from;
            incomplete = true;
            before += REC_ALIGN;
            continue;
        }
        if (missing_from != e->nrec) {
            report_missing(g, e, s, missing_from, i);
            missing_from = e->nrec;
        }
        uint64_t lsn = slot_lsn(g, &s[i], before);
        before = lsn;
        if (s[i].bad) {
            rd_damage(g->rd, JR_DAMAGE_RECORD, e->gid, s[i].seq, s[i].seq, true,
                      "content of the message is damaged");
            g->lost = g->reported = incomplete = true;
            continue;
        }
        if (s[i].twin) {
            rd_damage(g->rd, JR_DAMAGE_RECORD, e->gid, 0, 0, false,
                      "a damaged record was replaced by its twin");
            g->reported = true;
        }
        enum st st = give(g, &s[i], lsn);
        if (st != ST_OK) {
            return st;
        }
    }
    if (missing_from != e->nrec) {
        report_missing(g, e, s, missing_from, e->nrec);
    }
    g->rd->out->next_gid_min = u64_max(g->rd->out->next_gid_min, (uint64_t)e->gid + 1);
    rd_chain_set(g->rd, e);
    if (!incomplete) {
        return ST_OK;
    }
    /* Was the batch's end among the missing? The index says whether a batch goes on behind this
     * entry. */
    enum st st = (e->flags & JI_OPEN) == 0 ? rd_batch_flush(g->rd, e->gid) : ST_OK;
    if (st == ST_OK) {
        claim(g, e);
    }
    return st;
}

/* The evictions of an APPEND whose content is damaged hold; without an index they come from its
 * ext. */
static void claim_from_ext(struct group *g, const struct slot *s)
{
    struct rec r;
    struct seq_runs removed = {0};
    uint64_t floor = 0;
    if (rec_get(g->p + s->off, JG_FRAME + g->h->body_len - s->off, g->rd->opts->crc_seed, &r) ==
            ST_OK &&
        append_ext_get(r.ext, r.ext_len, &floor, &removed) != ST_OK) {
        seq_runs_clear(&removed);
    }
    if (g->rd->v->claim != NULL) {
        g->rd->v->claim(g->rd->v->arg, s->gid, s->seq, floor, &removed);
    }
    seq_runs_fini(&removed);
}

/* The index is gone: the records that are there, gid by gid. */
static enum st deliver_unindexed(struct group *g)
{
    qsort(g->slots, g->nslots, sizeof(*g->slots), cmp_slots);
    uint64_t before = 0;
    for (size_t i = 0; i < g->nslots; i++) {
        const struct slot *s = &g->slots[i];
        if (i == 0 || s->gid != g->slots[i - 1].gid) {
            before = g->h->lsn + g->rec_at - REC_ALIGN;
        }
        uint64_t lsn = slot_lsn(g, s, before);
        before = lsn;
        if (s->bad) {
            rd_damage(g->rd, JR_DAMAGE_RECORD, s->gid, s->seq, s->seq, true,
                      "content of the message is damaged");
            g->lost = g->reported = true;
            claim_from_ext(g, s);
            continue;
        }
        enum st st = give(g, s, lsn);
        if (st != ST_OK) {
            return st;
        }
    }
    if (g->nslots < g->h->nrec) {
        rd_damage(g->rd, JR_DAMAGE_GROUP, 0, 0, 0, true,
                  "%u records of the group at lsn %llu and its index are unreadable",
                  (unsigned)(g->h->nrec - g->nslots), (unsigned long long)g->h->lsn);
        g->lost = g->reported = g->rd->blind = true;
        rd_batches_doubt(g->rd);
    }
    return ST_OK;
}

enum st rd_salvage(struct jr_rd *rd, const struct jr_frame *fr, const uint8_t *p, const char *what)
{
    const struct jg_header *h = &fr->h;
    struct group g = {.rd = rd, .h = h, .p = p, .budget = (uint64_t)h->total_len * BUDGET_FACTOR};
    g.rec_at = JG_FRAME + h->index_len;
    g.twin_end = JG_FRAME + h->body_len;
    g.twin_at = g.twin_end - h->twin_len;
    g.rec_end = g.twin_at;
    g.slots = base_calloc((size_t)h->nrec + 1, sizeof(*g.slots));
    g.indexed = index_load(&g);
    g.rest_ok = crc32c(h->index_crc, p + g.rec_at, h->body_len - h->index_len) == h->body_crc;
    if (g.indexed) {
        g.nslots = h->nrec;
    } else {
        g.nentries = 0;
    }
    enum st st = search(&g, g.rec_at, g.rec_end, false);
    if (!g.indexed) {
        qsort(g.slots, g.nslots, sizeof(*g.slots), cmp_slots);
        g.nprimary = g.nslots;
    }
    if (st == ST_OK && h->twin_len != 0) {
        st = search(&g, g.twin_at, g.twin_end, true);
    }
    for (size_t i = 0; g.indexed && i < g.nentries && st == ST_OK; i++) {
        st = deliver_entry(&g, i);
    }
    if (!g.indexed && st == ST_OK) {
        st = deliver_unindexed(&g);
    }
    if (st == ST_OK && !g.reported && !below_checkpoint(&g)) {
        rd_damage(rd, JR_DAMAGE_GROUP, 0, 0, 0, false,
                  "the %s of the group at lsn %llu is damaged, nothing is lost",
                  what != NULL ? what : "frame", (unsigned long long)h->lsn);
    }
    base_free(g.entries);
    base_free(g.first);
    base_free(g.by_gid);
    base_free(g.slots);
    return st;
}
