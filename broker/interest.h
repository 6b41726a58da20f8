/* Subject interest of one account: who gets a message that is published to a subject.
 *
 * Literal subjects stand in a hash table, subjects with wildcards in a trie by tokens; both end in
 * a *leaf*, which holds the subscriptions of exactly one subject: plain ones in an array, queue
 * groups in an array each. A match gives leaves, not subscriptions, so its cost does not depend on
 * the fan-out, and a cache slot is small and fixed.
 *
 * Invariants: 1. a leaf exists iff it holds a subscription. 2. sub->slot is its place in its leaf's
 * array. 3. A cache slot that is valid (its generation is the current one) names only living
 * leaves: making or freeing a literal leaf drops the slot of that one subject, making or freeing a
 * wildcard leaf raises the generation.
 * 4. While a delivery runs (brk_interest_hold) no leaf is freed and no subscription leaves its
 * array; what is removed meanwhile is marked dead, taken out and given to `release` at the last
 * brk_interest_unhold.
 *
 * Loop thread only. No allocation on the match path. */
#ifndef BROKER_INTEREST_H
#define BROKER_INTEREST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/htab.h"
#include "broker/msg.h"

struct brk_account;
struct brk_conn;
struct brk_leaf;
struct brk_trie;
struct brk_interest_cache;

/* Gets a message that an internal subscription matched. Runs inside the publish; must not block. It
 * may publish, subscribe and unsubscribe. */
typedef void (*brk_msg_cb)(void *arg, const struct brk_msg *msg);

struct brk_group;

struct brk_sub {
    struct htab_node by_sid;     /* in conn->subs; client subscriptions only */
    struct brk_account *account; /* borrowed; outlives the subscription */
    struct brk_conn *conn;       /* borrowed; NULL: internal callback */
    brk_msg_cb cb;               /* internal only */
    void *arg;                   /* internal only; borrowed */
    struct brk_leaf *leaf;       /* borrowed; NULL: not inserted */
    struct brk_group *group;     /* borrowed; NULL: plain */
    uint32_t slot;               /* index in the leaf's or the group's array */
    bool dead;                   /* removed; only the array still knows it */
    uint64_t max;                /* deliveries until auto-unsubscribe; 0: no limit */
    uint64_t delivered;          /* deliveries so far */
    struct brk_sub *next_dead;   /* list of what the last unhold frees */
    struct brk_str subject;      /* owned, inside text */
    struct brk_str queue;        /* owned, inside text; n = 0: plain */
    struct brk_str sid;          /* owned, inside text; internal: n = 0 */
    char text[];
};

/* Makes a subscription (not inserted). The caller has validated the subject. */
struct brk_sub *brk_sub_create(struct brk_str subject, struct brk_str queue, struct brk_str sid);
void brk_sub_free(struct brk_sub *sub);

struct brk_group {
    struct brk_str name;   /* owned */
    struct brk_sub **subs; /* owned array of borrowed */
    uint32_t count, cap;
};

struct brk_leaf {
    struct htab_node node;     /* literal leaves: in interest->literals */
    struct brk_trie *trie;     /* wildcard leaves: borrowed; NULL for literal ones */
    struct brk_sub **subs;     /* owned array: plain subscriptions */
    struct brk_group **groups; /* owned array of owned: queue groups */
    uint32_t subs_count, subs_cap, groups_count, groups_cap;
    struct brk_str subject; /* owned, inside text */
    char text[];
};

#define BRK_MATCH_LEAVES_MAX                                                                       \
    32u /* leaves on the stack; a subject of n tokens rarely has more than 4 */

struct brk_match {
    uint32_t count;
    uint32_t cap; /* of more */
    struct brk_leaf *leaves[BRK_MATCH_LEAVES_MAX];
    struct brk_leaf **more; /* owned: all leaves, when there are more than fit; else NULL */
};

struct brk_interest {
    struct htab literals;             /* leaf->node by hash of the subject */
    struct brk_trie *root;            /* owned; NULL while there is no wildcard subscription */
    struct brk_interest_cache *cache; /* owned; made at the first match */
    uint64_t generation;              /* of wildcard leaves */
    uint64_t seed;                    /* of the hash; random, since clients choose the keys */
    uint64_t count;                   /* live subscriptions */
    uint64_t inserts, removes, cache_hits;
    uint32_t held;                     /* depth of running deliveries */
    struct brk_sub *dead;              /* removed while held */
    void (*release)(struct brk_sub *); /* frees a removed subscription */
};

void brk_interest_init(struct brk_interest *in, uint64_t seed, void (*release)(struct brk_sub *));
/* Frees; all subscriptions must have been removed. */
void brk_interest_fini(struct brk_interest *in);
/* Inserts; the subscription's subject is valid. It may be matched by a delivery that runs now. */
void brk_interest_insert(struct brk_interest *in, struct brk_sub *sub);
/* Removes and hands to release, now or when the running delivery ends. */
void brk_interest_remove(struct brk_interest *in, struct brk_sub *sub);
/* Finds the leaves whose subject matches the literal `subject`. The result lives until
 * brk_match_fini; its leaves stay valid only while held. */
void brk_interest_match(struct brk_interest *in, struct brk_str subject, struct brk_match *m_out);
static inline struct brk_leaf **brk_match_leaves(struct brk_match *m)
{
    return m->more != NULL ? m->more : m->leaves;
}
void brk_match_fini(struct brk_match *m);
/* Between hold and unhold leaves and subscriptions stay in memory. Nests. */
static inline void brk_interest_hold(struct brk_interest *in)
{
    in->held++;
}
void brk_interest_unhold(struct brk_interest *in);
/* True when somebody would get a message to `subject`; with a queue name: when that queue group has
 * a member.
 */
bool brk_interest_any(struct brk_interest *in, struct brk_str subject, struct brk_str queue);

#endif
