/* Which sequences of a stream are live: of [first..last] all, but those in the holes that interior
 * deletes left.
 *
 * Bitmaps of 4096 sequences (bit set = dead) allocated when the first of them dies and freed when
 * all are dead, in groups of 512 pages (2 Mi sequences) with counts on both levels: rank over a
 * thousand million sequences takes microseconds. Neighbouring groups that are all live, or all
 * dead, are one slot: a gap costs the same however wide it is (anybody can make one of 2^62, with a
 * purge at the origin of a mirror). Memory: at most 0.14 B per sequence of pages that are partly
 * dead, 32 B for a slot.
 *
 * Pure memory; checkpoints carry the dead runs, replay repeats the removals. Thread: owner of the
 * stream. Invariants: 1. first <= last + 1; 2. msgs == rank(first, last + 1); 3. unless empty,
 * first and only live sequences count: the floor may rest on a dead sequence until liveset_tidy()
 * or liveset_set_floor() moves it. */
#ifndef ENGINE_LIVESET_H
#define ENGINE_LIVESET_H

#include "engine/base/base.h"
#include "engine/record.h"

struct liveset_group; /* private: 512 pages */
struct liveset_slot {
    uint64_t group, count;   /* [group .. group + count); group = sequence / 2 Mi */
    struct liveset_group *g; /* owned, of one group; NULL: all live (dead = 0) or all dead */
    uint32_t dead;           /* sequences of each group that are dead */
};

struct liveset {
    uint64_t first, last; /* read-only outside; empty: first == last + 1 */
    uint64_t msgs;        /* live ones; read-only outside */
    /* private */
    struct liveset_slot *slot; /* owned, in order, without gaps; from the group of first on */
    size_t nslots, slot_cap;
    uint64_t memory_bytes;
};

/* [first..last] all live; liveset_init(l, first, first - 1) is empty. first >= 1. */
void liveset_init(struct liveset *l, uint64_t first, uint64_t last);
void liveset_fini(struct liveset *l); /* zeroed memory: no-op */

/* Extends to `last`; the new ones are live. last >= l->last. */
void liveset_append(struct liveset *l, uint64_t last);
/* Extends to `last`; the new ones are dead (SKIP, and sequences that were refused). An empty set
 * just moves up. */
void liveset_skip(struct liveset *l, uint64_t last);
/* Kills one; returns whether it was live (false outside of [first..last]). */
bool liveset_remove(struct liveset *l, uint64_t seq);
/* Kills [seq, seq + count); returns how many were live. */
uint64_t liveset_remove_run(struct liveset *l, uint64_t seq, uint64_t count);
/* Moves first up to `first` (lower: no-op; at most last + 1, beyond that last moves too: the set is
 * empty and starts there). Returns how many live ones that took. */
uint64_t liveset_set_floor(struct liveset *l, uint64_t first);
/* Moves first up to the first live one (last + 1 when there is none). */
void liveset_tidy(struct liveset *l);

bool liveset_is_live(const struct liveset *l, uint64_t seq);
/* Live sequences in [a, b). */
uint64_t liveset_rank(const struct liveset *l, uint64_t a, uint64_t b);
/* First live sequence >= seq; 0 = none. */
uint64_t liveset_next(const struct liveset *l, uint64_t seq);
/* Last live sequence <= seq; 0 = none. */
uint64_t liveset_prev(const struct liveset *l, uint64_t seq);
/* The n-th live sequence (0 = first live); 0 = there are not so many. */
uint64_t liveset_nth(const struct liveset *l, uint64_t n);
/* Appends the dead sequences of [from, to), at most max sequences of them, to out. What was given
 * by this to a fresh set's liveset_remove_run restores it. */
void liveset_dead_runs(const struct liveset *l, uint64_t from, uint64_t to, uint64_t max,
                       struct seq_runs *out);
/* Number of dead sequences between first and last. */
static inline uint64_t liveset_ndead(const struct liveset *l)
{
    return l->last + 1 - l->first - l->msgs;
}

#endif
