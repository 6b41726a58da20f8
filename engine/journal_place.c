/* Messages that are written once, to a segment, before the group that tells of them (journal.h,
 * extent.h): the lane's half. What was placed gets a record with a reference in its place, so the
 * records behind it in their ticket move up: slots and lengths are put right before anybody learns
 * the addresses.
 *
 * The owner's bytes are left as they are: the tail reads them. A crash leaves nothing of this step
 * but what `place` wrote: the group comes after it. */
#include "engine/journal_int.h"

static void collect(struct jr_lane *l)
{
    l->nbulk = 0;
    for (struct jw_ticket *t = l->gathered; t != NULL; t = t->lane_next) {
        if (t->nbulk == 0) {
            continue;
        }
        if (l->nbulk + t->nbulk > l->bulk_cap) {
            l->bulk_cap = (l->nbulk + t->nbulk) * 2;
            l->bulk = base_realloc(l->bulk, l->bulk_cap * sizeof(*l->bulk));
        }
        for (size_t i = 0; i < t->nbulk; i++) {
            l->bulk[l->nbulk] = t->bulk[i];
            l->bulk[l->nbulk++].may = t->sync;
        }
    }
}

const uint8_t *jr_bulk_rec(const struct jr_bulk *b)
{
    return b->msg - b->head;
}

/* The record that stands for b. False when it would be no shorter. */
static bool substitute(struct jr *jr, struct jr_bulk *b)
{
    struct jr_bytes *subs = &jr->lane.subs;
    uint32_t seed = jr->opts.crc_seed;
    const uint8_t *rec = jr_bulk_rec(b);
    struct msg m;
    if (msg_get(b->msg, b->len, &m) != ST_OK) {
        return false;
    }
    size_t body = (size_t)msg_extent_size(m.subj_len, m.hdr_len);
    size_t len = b->head + body, room = (size_t)align_up(len, REC_ALIGN);
    if (room >= b->room) {
        return false;
    }
    jr_bytes_reserve(subs, room);
    uint8_t *p = subs->p + subs->len;
    memcpy(p, rec, b->head);
    msg_put_extent(p + b->head, &m, &b->x, seed);
    memset(p + len, 0, room - len);
    rec_resize(p, body, seed);
    b->sub_at = (uint32_t)subs->len;
    b->sub_len = (uint32_t)room;
    subs->len += room;
    return true;
}

/* Bytes saved by the records of a ticket before off; v has them in order. */
static uint64_t saved_before(const struct jr_bulk *v, size_t n, uint64_t off)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (v[mid].off < off) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo > 0 ? v[lo - 1].saved : 0;
}

/* The ticket's n records of v, which is not empty. */
static void move_up(struct jr_bulk *v, size_t n)
{
    struct jw_ticket *t = v->ticket;
    uint64_t saved = 0;
    for (size_t i = 0; i < n; i++) {
        saved += v[i].sub_len != 0 ? v[i].room - v[i].sub_len : 0;
        v[i].saved = saved;
    }
    for (size_t i = 0; i < t->nslots; i++) {
        t->slots[i].first_off -= saved_before(v, n, t->slots[i].first_off);
        t->slots[i].last_off -= saved_before(v, n, t->slots[i].last_off);
    }
    t->rec_len -= saved;
}

void jr_place(struct jr *jr)
{
    struct jr_lane *l = &jr->lane;
    uint64_t bytes = 0;
    l->placed = true;
    l->placing = false;
    l->subs.len = 0;
    collect(l);
    if (l->nbulk == 0 || jr->opts.place == NULL) {
        l->nbulk = 0;
        return;
    }
    jr->opts.place(l->bulk, l->nbulk);
    for (size_t i = 0, from = 0; i < l->nbulk; i++) {
        struct jr_bulk *b = &l->bulk[i];
        b->sub_len = 0;
        bytes += b->placed ? b->len : 0;
        if (b->placed && !substitute(jr, b)) {
            b->sub_len = 0;
        }
        if (i + 1 == l->nbulk || l->bulk[i + 1].ticket != b->ticket) {
            move_up(l->bulk + from, i + 1 - from);
            from = i + 1;
        }
    }
    l->placing = bytes > 0;
    atomic_fetch_add(&jr->placed_bytes, bytes);
}

const struct jr_bulk *jr_placed_next(const struct jr_lane *l, size_t *at, const uint8_t *p,
                                     const uint8_t *end)
{
    for (; *at < l->nbulk; (*at)++) {
        const struct jr_bulk *b = &l->bulk[*at];
        const uint8_t *rec = jr_bulk_rec(b);
        if (rec < p || rec >= end) {
            return NULL; /* of a range that comes later */
        }
        if (b->sub_len != 0) {
            (*at)++;
            return b;
        }
    }
    return NULL;
}

void jr_placed_done(struct jr *jr, uint64_t bytes)
{
    atomic_fetch_sub(&jr->placed_bytes, bytes);
}
