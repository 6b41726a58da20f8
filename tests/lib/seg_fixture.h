/* What the tests of segments share: a store in a directory of its own, messages with content that
 * can be checked. */
#ifndef TESTS_LIB_SEG_FIXTURE_H
#define TESTS_LIB_SEG_FIXTURE_H

#include "engine/blockcache.h"
#include "engine/reader.h"
#include "engine/segment.h"

#define FIX_SEED 0x5eed1234u
#define FIX_GID 7u

struct seg_fix {
    struct env *env; /* owned when own_env */
    bool own_env;
    char root[128];
    struct segs *segs; /* owned */
};
/* env NULL: the real one, in a new directory below /tmp. */
void seg_fix_open(struct seg_fix *f, struct env *env, const char *root);
void seg_fix_close(struct seg_fix *f);  /* removes the directory of a real one */
void seg_fix_reopen(struct seg_fix *f); /* segs_close and segs_open: as after a restart */

/* MSG forms in memory. Content follows from the sequence, so that a reader can say whether it is
 * right. */
struct msg_set {
    struct seg_src *src; /* owned */
    uint8_t **bytes;     /* owned */
    size_t n, cap;
};
typedef size_t (*fix_size_fn)(uint64_t seq);
/* Adds n messages from `first` on, every `step`-th sequence. Subjects: s.<seq % subjects>.x; with
 * FIX_RUNS(r, n) the subject changes only every r sequences. */
#define FIX_RUNS(r, n) ((unsigned)(((r)-1) << 16 | (n)))
void msg_set_add(struct msg_set *m, uint64_t first, size_t n, uint64_t step, unsigned subjects,
                 fix_size_fn size);
void msg_set_fini(struct msg_set *m);
/* True when the message is what msg_set_add made for its sequence. */
bool msg_is_right(const struct msg *m, unsigned subjects, fix_size_fn size);

/* What a visitor collects. */
struct seen {
    uint64_t subject_msgs, subjects, ttl, removed, floor, bytes;
    uint64_t seq_sum;
    unsigned damage[8];
    uint64_t lost_lo, lost_hi; /* hull of what was reported lost; 0 = nothing */
    unsigned lost;
    char text[256];
};
void seen_visitor(struct seg_visitor *v, struct seen *s);
unsigned seen_damage(const struct seen *s); /* reports of any kind */

#endif
