/* Which messages of a stream are schedules (MSG_SCHED), so that a start need not read the last
 * message of each subject to find them. Stream state like the dedup window: kept at checkpoints in
 * the same column, moved on by each message.
 *
 * Sequences ascend; some may be dead, until tidied. `known` is false where the catalogue was
 * written by a version that did not keep them: then somebody has to look, once.
 *
 * Pure memory. Thread: owner of the stream. */
#ifndef ENGINE_SCHEDSET_H
#define ENGINE_SCHEDSET_H

#include "engine/base/base.h"
#include "engine/base/err.h"

struct liveset;
struct schedset {
    uint64_t *v; /* owned */
    size_t n, cap;
    bool known;
};

void schedset_clear(struct schedset *p); /* frees; not known */
void schedset_add(struct schedset *p, const struct liveset *live, uint64_t seq);
void schedset_tidy(struct schedset *p, const struct liveset *live); /* lets go of the dead */

/* Encodes the set with the column that follows in front, `rest` as it is where there is nothing to
 * say. base_malloc'ed; takes `rest` over. */
uint8_t *schedset_wrap(const struct schedset *p, bool wanted, uint8_t *rest, size_t rest_len,
                       size_t *len_out);
/* Reads such a column, and where the rest stands. ST_CORRUPT leaves p empty and not known. */
MUST_USE enum st schedset_unwrap(struct schedset *p, const uint8_t *in, size_t len,
                                 const uint8_t **rest_out, size_t *rest_len_out);

#endif
