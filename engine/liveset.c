#include "engine/liveset.h"

enum {
    PAGE_BITS = 12,
    PAGE_SEQS = 1 << PAGE_BITS,
    PAGE_WORDS = PAGE_SEQS / 64,
    GROUP_PAGE_BITS = 9,
    GROUP_PAGES = 1 << GROUP_PAGE_BITS,
    GROUP_BITS = PAGE_BITS + GROUP_PAGE_BITS,
    GROUP_SEQS = 1 << GROUP_BITS,
};

/* dead[i] == 0: page NULL, all live; PAGE_SEQS: page NULL, all dead; else a bitmap, bit set = dead.
 */
struct liveset_group {
    uint16_t dead[GROUP_PAGES];
    uint64_t *page[GROUP_PAGES]; /* owned */
};

static void free_group(struct liveset *l, struct liveset_slot *s)
{
    if (s->g == NULL) {
        return;
    }
    for (size_t i = 0; i < GROUP_PAGES; i++) {
        if (s->g->page[i] != NULL) {
            base_free(s->g->page[i]);
            l->memory_bytes -= PAGE_WORDS * 8;
        }
    }
    base_free(s->g);
    l->memory_bytes -= sizeof *s->g;
    s->g = NULL;
}

static uint64_t group_of(uint64_t seq)
{
    return seq >> GROUP_BITS;
}
static size_t page_of(uint64_t seq)
{
    return (seq >> PAGE_BITS) & (GROUP_PAGES - 1);
}
static size_t bit_of(uint64_t seq)
{
    return seq & (PAGE_SEQS - 1);
}

/* Where a slot ends: the first sequence behind it. */
static uint64_t slot_end(const struct liveset_slot *s)
{
    return (s->group + s->count) << GROUP_BITS;
}

/* Index of the slot that holds a group, which is not in the last one. */
static size_t search(const struct liveset *l, uint64_t group)
{
    size_t lo = 0, hi = l->nslots - 1;
    ASSERT(hi > 0 && group >= l->slot[0].group);
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (l->slot[mid].group <= group) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* Index of the slot that holds a sequence's group. */
static inline size_t find(const struct liveset *l, uint64_t seq)
{
    ASSERT(l->nslots > 0);
    const struct liveset_slot *tail = &l->slot[l->nslots - 1];
    if (group_of(seq) < tail->group) {
        return search(l, group_of(seq));
    }
    ASSERT(group_of(seq) - tail->group < tail->count);
    return l->nslots - 1;
}

static inline const struct liveset_slot *slot_of(const struct liveset *l, uint64_t seq)
{
    return &l->slot[find(l, seq)];
}

/* A new slot at index i; returns it. */
static struct liveset_slot *insert(struct liveset *l, size_t i)
{
    if (l->nslots == l->slot_cap) {
        size_t cap = l->slot_cap * 2 + 4;
        l->slot = base_realloc(l->slot, cap * sizeof l->slot[0]);
        l->memory_bytes += (cap - l->slot_cap) * sizeof l->slot[0];
        l->slot_cap = cap;
    }
    memmove(l->slot + i + 1, l->slot + i, (l->nslots - i) * sizeof l->slot[0]);
    l->nslots++;
    return &l->slot[i];
}

static void erase(struct liveset *l, size_t i, size_t n)
{
    memmove(l->slot + i, l->slot + i + n, (l->nslots - i - n) * sizeof l->slot[0]);
    l->nslots -= n;
}

/* Makes a slot begin at `group`; returns its index. */
static size_t cut(struct liveset *l, uint64_t group)
{
    size_t i = find(l, group << GROUP_BITS);
    struct liveset_slot s = l->slot[i];
    if (s.group == group) {
        return i;
    }
    l->slot[i].count = group - s.group;
    *insert(l, i + 1) =
        (struct liveset_slot){.group = group, .count = s.count - (group - s.group), .dead = s.dead};
    return i + 1;
}

/* Makes [from, to) a slot of its own; they lie within one. */
static size_t isolate(struct liveset *l, uint64_t from, uint64_t to)
{
    size_t i = cut(l, from);
    if (l->slot[i].count > to - from) {
        (void)cut(l, to);
    }
    return i;
}

static bool alike(const struct liveset_slot *a, const struct liveset_slot *b)
{
    return a->g == NULL && b->g == NULL && a->dead == b->dead;
}

/* Makes one of slot i and its neighbours where they are of one kind. */
static void join(struct liveset *l, size_t i)
{
    if (i + 1 < l->nslots && alike(&l->slot[i], &l->slot[i + 1])) {
        l->slot[i].count += l->slot[i + 1].count;
        erase(l, i + 1, 1);
    }
    if (i > 0 && alike(&l->slot[i - 1], &l->slot[i])) {
        l->slot[i - 1].count += l->slot[i].count;
        erase(l, i, 1);
    }
}

/* Makes slots up to the group of `last`, all live. */
static void grow(struct liveset *l, uint64_t last)
{
    struct liveset_slot *tail = l->nslots > 0 ? &l->slot[l->nslots - 1] : NULL;
    uint64_t end = tail != NULL ? tail->group + tail->count : group_of(l->first);
    if (last < l->first || group_of(last) < end) {
        return;
    }
    uint64_t more = group_of(last) - end + 1;
    if (tail != NULL && tail->g == NULL && tail->dead == 0) {
        tail->count += more;
    } else {
        *insert(l, l->nslots) = (struct liveset_slot){.group = end, .count = more};
    }
}

/* Starts over, empty, at `first`. */
static void restart(struct liveset *l, uint64_t first)
{
    for (size_t i = 0; i < l->nslots; i++) {
        free_group(l, &l->slot[i]);
    }
    l->nslots = 0;
    l->first = first;
    l->last = first - 1;
    l->msgs = 0;
}

void liveset_init(struct liveset *l, uint64_t first, uint64_t last)
{
    ASSERT(first >= 1 && last + 1 >= first);
    memset(l, 0, sizeof *l);
    restart(l, first);
    if (last >= first) {
        liveset_append(l, last);
    }
}

void liveset_fini(struct liveset *l)
{
    for (size_t i = 0; i < l->nslots; i++) {
        free_group(l, &l->slot[i]);
    }
    base_free(l->slot);
    memset(l, 0, sizeof *l);
}

void liveset_append(struct liveset *l, uint64_t last)
{
    ASSERT(last >= l->last);
    l->msgs += last - l->last;
    l->last = last;
    grow(l, last);
}

void liveset_skip(struct liveset *l, uint64_t last)
{
    ASSERT(last >= l->last);
    if (l->msgs == 0) {
        restart(l, last + 1);
        return;
    }
    uint64_t from = l->last + 1;
    liveset_append(l, last);
    (void)liveset_remove_run(l, from, last + 1 - from);
}

/* --- killing ---------------------------------------------------------------------------------- */

/* Gives a group its pages' table; it was all live or all dead. */
static void open_group(struct liveset *l, struct liveset_slot *s)
{
    if (s->g != NULL) {
        return;
    }
    s->g = base_calloc(1, sizeof *s->g);
    l->memory_bytes += sizeof *s->g;
    if (s->dead != 0) {
        ASSERT(s->dead == GROUP_SEQS);
        for (size_t i = 0; i < GROUP_PAGES; i++) {
            s->g->dead[i] = PAGE_SEQS;
        }
    }
}

/* Kills bits [a, b) of a page; returns how many were live. */
static unsigned kill_in_page(struct liveset *l, struct liveset_slot *s, size_t p, size_t a,
                             size_t b)
{
    struct liveset_group *g = s->g;
    unsigned fresh = 0;
    if (g->dead[p] == PAGE_SEQS) {
        return 0;
    }
    if (a == 0 && b == PAGE_SEQS) {
        fresh = PAGE_SEQS - g->dead[p];
    } else {
        if (g->page[p] == NULL) {
            g->page[p] = base_calloc(PAGE_WORDS, 8);
            l->memory_bytes += PAGE_WORDS * 8;
        }
        for (size_t w = a / 64; w <= (b - 1) / 64; w++) {
            uint64_t mask = UINT64_MAX;
            if (w == a / 64) {
                mask &= UINT64_MAX << (a % 64);
            }
            if (w == (b - 1) / 64) {
                mask &= UINT64_MAX >> (63 - (b - 1) % 64);
            }
            fresh += (unsigned)__builtin_popcountll(mask & ~g->page[p][w]);
            g->page[p][w] |= mask;
        }
    }
    g->dead[p] = (uint16_t)(g->dead[p] + fresh);
    s->dead += fresh;
    if (g->dead[p] == PAGE_SEQS && g->page[p] != NULL) {
        base_free(g->page[p]);
        g->page[p] = NULL;
        l->memory_bytes -= PAGE_WORDS * 8;
    }
    return fresh;
}

static void all_dead(struct liveset *l, size_t i)
{
    free_group(l, &l->slot[i]);
    l->slot[i].dead = GROUP_SEQS;
    join(l, i);
}

/* Kills [a, b), which is part of one group. */
static uint64_t kill_in_group(struct liveset *l, uint64_t a, uint64_t b)
{
    size_t i = isolate(l, group_of(a), group_of(a) + 1);
    struct liveset_slot *s = &l->slot[i];
    open_group(l, s);
    uint64_t fresh = 0;
    while (a < b) {
        uint64_t end = u64_min(b, (a | (PAGE_SEQS - 1)) + 1);
        size_t from = bit_of(a);
        fresh += kill_in_page(l, s, page_of(a), from, from + (size_t)(end - a));
        a = end;
    }
    if (s->dead == GROUP_SEQS) {
        all_dead(l, i);
    }
    return fresh;
}

/* Kills whole groups, which lie within one slot. */
static uint64_t kill_groups(struct liveset *l, uint64_t from, uint64_t to)
{
    size_t i = isolate(l, from, to);
    uint64_t fresh = (to - from) * GROUP_SEQS - l->slot[i].dead;
    all_dead(l, i);
    return fresh;
}

uint64_t liveset_remove_run(struct liveset *l, uint64_t seq, uint64_t count)
{
    uint64_t a = u64_max(seq, l->first);
    uint64_t b = seq > UINT64_MAX - count ? UINT64_MAX : seq + count;
    b = u64_min(b, l->last + 1);
    uint64_t fresh = 0;
    while (a < b) {
        const struct liveset_slot *s = slot_of(l, a);
        uint64_t end = u64_min(b, slot_end(s)), whole = group_of(end);
        if (s->g == NULL && s->dead != 0) {
            a = end;
        } else if ((a & (GROUP_SEQS - 1)) == 0 && whole > group_of(a)) {
            fresh += kill_groups(l, group_of(a), whole);
            a = whole << GROUP_BITS;
        } else {
            end = u64_min(b, (group_of(a) + 1) << GROUP_BITS);
            fresh += kill_in_group(l, a, end);
            a = end;
        }
    }
    l->msgs -= fresh;
    return fresh;
}

bool liveset_remove(struct liveset *l, uint64_t seq)
{
    if (!liveset_is_live(l, seq)) {
        return false;
    }
    l->msgs -= kill_in_group(l, seq, seq + 1);
    return true;
}

uint64_t liveset_set_floor(struct liveset *l, uint64_t first)
{
    if (first <= l->first) {
        return 0;
    }
    uint64_t gone = liveset_rank(l, l->first, first);
    if (first > l->last) {
        gone = l->msgs;
        restart(l, first);
        return gone;
    }
    l->msgs -= gone;
    l->first = first;
    size_t drop = find(l, first);
    for (size_t i = 0; i < drop; i++) {
        free_group(l, &l->slot[i]);
    }
    erase(l, 0, drop);
    l->slot[0].count -= group_of(first) - l->slot[0].group;
    l->slot[0].group = group_of(first);
    /* Pages below the floor are never asked again. */
    struct liveset_group *g = l->slot[0].g;
    for (size_t p = page_of(first); g != NULL && p-- > 0 && g->page[p] != NULL;) {
        base_free(g->page[p]);
        l->memory_bytes -= PAGE_WORDS * 8;
        g->page[p] = NULL;
        l->slot[0].dead += PAGE_SEQS - g->dead[p];
        g->dead[p] = PAGE_SEQS;
    }
    return gone;
}

void liveset_tidy(struct liveset *l)
{
    uint64_t live = l->msgs == 0 ? 0 : liveset_next(l, l->first);
    (void)liveset_set_floor(l, live == 0 ? l->last + 1 : live);
}

/* --- asking ----------------------------------------------------------------------------------- */

static bool no_holes(const struct liveset *l)
{
    return l->msgs == l->last + 1 - l->first;
}

bool liveset_is_live(const struct liveset *l, uint64_t seq)
{
    if (seq < l->first || seq > l->last) {
        return false;
    }
    if (no_holes(l)) {
        return true;
    }
    const struct liveset_slot *s = slot_of(l, seq);
    if (s->g == NULL) {
        return s->dead == 0;
    }
    size_t p = page_of(seq);
    if (s->g->page[p] == NULL) {
        return s->g->dead[p] == 0;
    }
    return (s->g->page[p][bit_of(seq) / 64] >> (bit_of(seq) % 64) & 1) == 0;
}

/* Dead bits in [a, b) of one page. */
static uint64_t dead_in_page(const struct liveset_group *g, size_t p, size_t a, size_t b)
{
    if (g->page[p] == NULL || (a == 0 && b == PAGE_SEQS)) {
        return g->dead[p] == 0 ? 0 : a == 0 && b == PAGE_SEQS ? g->dead[p] : b - a;
    }
    uint64_t dead = 0;
    for (size_t w = a / 64; w <= (b - 1) / 64; w++) {
        uint64_t word = g->page[p][w];
        if (w == a / 64) {
            word &= UINT64_MAX << (a % 64);
        }
        if (w == (b - 1) / 64) {
            word &= UINT64_MAX >> (63 - (b - 1) % 64);
        }
        dead += (uint64_t)__builtin_popcountll(word);
    }
    return dead;
}

/* Live sequences in [a, b), which lies within one slot. */
static uint64_t live_in_slot(const struct liveset_slot *s, uint64_t a, uint64_t b)
{
    if (s->g == NULL) {
        return s->dead == 0 ? b - a : 0;
    }
    uint64_t live = b - a, dead = 0;
    if (live == GROUP_SEQS) {
        return live - s->dead;
    }
    while (a < b) {
        uint64_t end = u64_min(b, (a | (PAGE_SEQS - 1)) + 1);
        dead += dead_in_page(s->g, page_of(a), bit_of(a), bit_of(a) + (size_t)(end - a));
        a = end;
    }
    return live - dead;
}

uint64_t liveset_rank(const struct liveset *l, uint64_t a, uint64_t b)
{
    a = u64_max(a, l->first);
    b = u64_min(b, l->last + 1);
    if (a >= b) {
        return 0;
    }
    if (no_holes(l)) {
        return b - a;
    }
    uint64_t rank = 0;
    for (const struct liveset_slot *s = slot_of(l, a); a < b; s++) {
        uint64_t end = u64_min(b, slot_end(s));
        rank += live_in_slot(s, a, end);
        a = end;
    }
    return rank;
}

/* First bit >= from of a page that is dead (or live); PAGE_SEQS = none. */
static size_t find_in_page(const struct liveset_group *g, size_t p, size_t from, bool dead)
{
    if (g->page[p] == NULL) {
        return (g->dead[p] != 0) == dead ? from : PAGE_SEQS;
    }
    for (size_t w = from / 64; w < PAGE_WORDS; w++) {
        uint64_t word = dead ? g->page[p][w] : ~g->page[p][w];
        if (w == from / 64) {
            word &= UINT64_MAX << (from % 64);
        }
        if (word != 0) {
            return w * 64 + (size_t)__builtin_ctzll(word);
        }
    }
    return PAGE_SEQS;
}

/* First sequence >= seq that is dead (or live), at most last; 0 = none. */
static uint64_t find_from(const struct liveset *l, uint64_t seq, bool dead)
{
    seq = u64_max(seq, l->first);
    if (no_holes(l)) {
        return dead || seq > l->last ? 0 : seq;
    }
    const struct liveset_slot *s = seq <= l->last ? slot_of(l, seq) : NULL;
    while (seq <= l->last) {
        s += seq == slot_end(s);
        if (s->g == NULL) {
            if ((s->dead != 0) == dead) {
                return seq;
            }
            seq = slot_end(s);
            continue;
        }
        size_t bit = find_in_page(s->g, page_of(seq), bit_of(seq), dead);
        seq = (seq & ~(uint64_t)(PAGE_SEQS - 1)) + bit;
        if (bit < PAGE_SEQS) {
            return seq <= l->last ? seq : 0;
        }
    }
    return 0;
}

uint64_t liveset_next(const struct liveset *l, uint64_t seq)
{
    return find_from(l, seq, false);
}

/* Last live bit <= from of a page; PAGE_SEQS = none. */
static size_t last_in_page(const struct liveset_group *g, size_t p, size_t from)
{
    if (g->page[p] == NULL) {
        return g->dead[p] == 0 ? from : PAGE_SEQS;
    }
    for (size_t w = from / 64 + 1; w-- > 0;) {
        uint64_t word = ~g->page[p][w];
        if (w == from / 64) {
            word &= UINT64_MAX >> (63 - from % 64);
        }
        if (word != 0) {
            return w * 64 + 63 - (size_t)__builtin_clzll(word);
        }
    }
    return PAGE_SEQS;
}

uint64_t liveset_prev(const struct liveset *l, uint64_t seq)
{
    if (seq < l->first) {
        return 0;
    }
    seq = u64_min(seq, l->last);
    while (seq >= l->first) {
        const struct liveset_slot *s = slot_of(l, seq);
        uint64_t below = s->group << GROUP_BITS; /* where to go on when nothing is live here */
        if (s->g == NULL && s->dead == 0) {
            return seq;
        }
        if (s->g != NULL) {
            below = seq & ~(uint64_t)(PAGE_SEQS - 1);
            size_t bit = last_in_page(s->g, page_of(seq), bit_of(seq));
            if (bit < PAGE_SEQS) {
                return below + bit >= l->first ? below + bit : 0;
            }
        }
        if (below == 0) {
            return 0;
        }
        seq = below - 1;
    }
    return 0;
}

uint64_t liveset_nth(const struct liveset *l, uint64_t n)
{
    if (n >= l->msgs) {
        return 0;
    }
    uint64_t seq = l->first, end, live;
    const struct liveset_slot *s = l->slot;
    for (;; s++) { /* slots, then pages, then bits */
        end = u64_min(l->last + 1, slot_end(s));
        live = live_in_slot(s, seq, end);
        if (n < live) {
            break;
        }
        n -= live;
        seq = end;
    }
    if (s->g == NULL) {
        return seq + n;
    }
    for (;;) {
        uint64_t next = u64_min(end, (seq | (PAGE_SEQS - 1)) + 1);
        live = live_in_slot(s, seq, next);
        if (n < live) {
            break;
        }
        n -= live;
        seq = next;
    }
    for (seq = liveset_next(l, seq); n > 0; n--) {
        seq = liveset_next(l, seq + 1);
    }
    return seq;
}

/* First dead run at or after seq, cut at last; false = none. */
static bool next_dead(const struct liveset *l, uint64_t seq, struct seq_run *run_out)
{
    uint64_t first = find_from(l, seq, true);
    if (first == 0) {
        return false;
    }
    uint64_t live = find_from(l, first, false);
    *run_out = (struct seq_run){first, (live == 0 ? l->last + 1 : live) - first};
    return true;
}

void liveset_dead_runs(const struct liveset *l, uint64_t from, uint64_t to, uint64_t max,
                       struct seq_runs *out)
{
    struct seq_run run;
    while (max > 0 && from < to && next_dead(l, from, &run) && run.first < to) {
        from = run.first + run.count;
        run.count = u64_min(u64_min(run.count, to - run.first), max);
        max -= run.count;
        seq_runs_add_run(out, run.first, run.count);
    }
}
