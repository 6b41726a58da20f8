/* When a loop that has nothing to do looks for events a while before it sleeps. To sleep and to be
 * woken costs 10 to 50 us (most on virtual machines, where an idle processor is given back to the
 * host); a client that asks one thing after the other pays that for each answer.
 *
 * The rule: polling must have paid off lately. What came within the window gives one point of
 * credit, up to BRK_SPIN_CREDIT_MAX; a window in vain costs BRK_SPIN_MISS of them. Without credit
 * left the loop sleeps at once for a rest, which doubles each time from BRK_SPIN_REST_NS_MIN to
 * BRK_SPIN_REST_NS_MAX and is short again only after full credit; behind a rest one window is
 * tried. So a server that is idle or is asked now and then polls for one window a second at most,
 * and never wakes up for it. Where events wait already at the first look (a busy server), looking
 * would only cost: the next waits, twice as many each time up to BRK_SPIN_SKIP_MAX, are not
 * preceded by one.
 *
 * Pure: knows no clock and no loop. One per loop, its thread only. */
#ifndef BROKER_SPIN_H
#define BROKER_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/base.h"

#define BRK_SPIN_CREDIT_MAX 32u
#define BRK_SPIN_MISS 3u
#define BRK_SPIN_REST_NS_MIN NS_PER_MS
#define BRK_SPIN_REST_NS_MAX NS_PER_S
#define BRK_SPIN_SKIP_MAX 64u

enum brk_spin_end {
    BRK_SPIN_READY, /* there was an event at the first look */
    BRK_SPIN_CAME,  /* one came */
    BRK_SPIN_NONE,  /* none came */
};

struct brk_spin {
    int64_t window_ns; /* 0: never polls */
    int64_t rest_ns;   /* the next rest */
    int64_t rest_until_ns;
    uint32_t credit;
    uint32_t skip, skip_left; /* waits */
    /* since the start */
    uint64_t hits, misses;
    uint64_t spun_ns; /* of both */
};

void brk_spin_init(struct brk_spin *spin, int64_t window_ns);
/* Before a wait: true when this one may be preceded by a look. Counts the skipped ones. */
bool brk_spin_due(struct brk_spin *spin);
/* How long to poll at most from now on, ns; 0: sleep at once. Only after brk_spin_due. */
int64_t brk_spin_window(const struct brk_spin *spin, int64_t now_ns);
/* What became of the window that began at began_ns. */
void brk_spin_ended(struct brk_spin *spin, enum brk_spin_end end, int64_t began_ns, int64_t now_ns);

#endif
