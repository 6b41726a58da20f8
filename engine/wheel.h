/* Deadlines in boot_ns: ack_wait, redelivery delays, expiry checks, flush of acks.
 *
 * A 4-ary heap of pointers to nodes that lie in their owners: arm and cancel O(log n), next O(1), 8
 * B per armed node plus the node. Many deadlines of one kind share a node (a consumer arms the
 * earliest of its pending messages), so a store has some tens of thousands of nodes, not millions.
 * Exact deadlines also keep simulated runs deterministic: equal deadlines come in the order they
 * were armed.
 *
 * Thread: owner. A node must be cancelled before its memory goes. */
#ifndef ENGINE_WHEEL_H
#define ENGINE_WHEEL_H

#include "engine/base/base.h"

#define WHEEL_NEVER INT64_MAX

struct wheel_node {
    int64_t at_boot_ns; /* valid while armed */
    uint64_t order;     /* private: ties */
    uint32_t index;     /* private: place in the heap + 1; 0 = not armed */
    uint32_t kind;      /* owner's: what to do when due */
};

struct wheel {
    struct wheel_node **heap; /* owned array of borrowed nodes */
    size_t n, cap;
    uint64_t next_order;
};

void wheel_init(struct wheel *w);
void wheel_fini(struct wheel *w); /* nodes still armed are forgotten (disarmed) */
/* Arms, or moves an armed node. WHEEL_NEVER cancels. */
void wheel_arm(struct wheel *w, struct wheel_node *node, int64_t at_boot_ns);
void wheel_cancel(struct wheel *w, struct wheel_node *node); /* not armed: no-op */
static inline bool wheel_armed(const struct wheel_node *node)
{
    return node->index != 0;
}
/* The earliest deadline, WHEEL_NEVER = none. */
int64_t wheel_next(const struct wheel *w);
/* Takes the earliest node that is due at `now_boot_ns` and disarms it; NULL = none is due. */
struct wheel_node *wheel_pop(struct wheel *w, int64_t now_boot_ns);

#endif
